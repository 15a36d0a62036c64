"""Answers Envoy for requests to names that have no scope yet (ext_proc): binds, waits until Envoy has it, lets it go.

One stream per such request, one binding however many callers wait for it. Requests to bound names never come here.
Source: envoy.service.ext_proc.v3.ExternalProcessor.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

import grpc.aio
from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.service.ext_proc.v3 import external_processor_pb2 as ext_proc
from envoy.type.v3 import http_status_pb2

from mesh.agent import refusal
from mesh.agent.binder import Binder, is_waiting
from mesh.agent.delegating import Local, Scopes
from mesh.agent.names import Name
from mesh.agent.refusal import Refusal
from mesh.agent.routers import Identified, Router
from mesh.envoy import names as envoy_names
from mesh.envoy.listeners import ROUTER_METADATA
from mesh.naming.identify import Unidentified
from mesh.xds.resource import SCOPE
from mesh.xds.server import Ads

logger = logging.getLogger("tieline.resolver")

METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
HURRY_SECONDS = 0.25


class Resolver:
    def __init__(self, binder: Binder, ads: Ads, routers: Mapping[str, Router], patience_seconds: float) -> None:
        self._binder = binder
        self._ads = ads
        self._routers = routers
        self._patience_seconds = patience_seconds
        self._scopes = Scopes()
        self.answers: Counter[int] = Counter()

    async def process(
        self, requests: AsyncIterator[ext_proc.ProcessingRequest], context: grpc.aio.ServicerContext[object, object]
    ) -> AsyncIterator[ext_proc.ProcessingResponse]:
        router = dict(context.invocation_metadata() or ()).get(ROUTER_METADATA, "")
        async for request in requests:
            if request.HasField("request_headers"):
                pairs = [(each.key, _text(each)) for each in request.request_headers.headers.headers]
                answer = await self._resolve(str(router), pairs)
                self.answers[answer.status if isinstance(answer, Refusal) else 200] += 1
                yield self._refuse(str(router), answer) if isinstance(answer, Refusal) else _go(answer)

    def _refuse(self, router: str, refused: Refusal) -> ext_proc.ProcessingResponse:
        return _refuse(refused if self._routers[router].tells_errors else refusal.hidden(refused))

    async def _resolve(self, name: str, pairs: Sequence[tuple[str, str]]) -> Refusal | dict[str, str]:
        """A refusal; or the headers to change before the request goes on."""
        # Envoy takes a key from the first of several headers of one name.
        router, headers = self._routers[name], dict(reversed(pairs))
        if not router.passes(headers.get("upgrade", "")):
            # Envoy itself asks that only where there is a route already.
            return refusal.no_upgrade(headers["upgrade"])
        asked = router.identify(headers)
        if isinstance(asked, Unidentified):
            return refusal.unidentified(asked.reason, router.wish)
        local = router.tables.local(pairs)
        if isinstance(local, Refusal):
            return local
        found = self.name(asked) if local is None else self._under(local, router, asked, headers)
        grpc = headers.get("content-type", "").startswith("application/grpc")
        if isinstance(found, Refusal):
            return found
        if grpc:
            self._binder.take_grpc(found)
        # Envoy acknowledges a scope only when it has its clusters: the session sends them in that order.
        scope = envoy_names.scope_resource(found.router, found.key)
        if (refused := await self.bound(found, SCOPE, scope)) is not None:
            return refused
        return {} if found.id == asked.key else router.rewritten(found.key, headers)

    def name(self, asked: Identified) -> Name | Refusal:
        # One of too many ways to ask for this: it is served under the plain one.
        key = asked.key if self._binder.spelling(asked.key, asked.path) == asked.key else asked.plain
        name = self._binder.ask(key, asked.path, consumed=asked.consumed)
        many = "too many names are in use or asked for at once (names.limit, names.negative_limit)"
        return name or refusal.unavailable(many, refusal.explained(key[1], asked.path))

    def _under(self, local: Local, router: Router, asked: Identified, headers: dict[str, str]) -> Name | Refusal:
        key, delegated = self._scopes.led(router.form, asked.key, local, headers)
        if (header := delegated.too_long) is not None:
            return refusal.unreadable(f"with a table, {header} is too long to be passed on")
        name = self._binder.delegate(key, asked.path, local.table, delegated, asked.consumed)
        many = "too many tables of requests are waited for at once"
        return name or refusal.unavailable(many, refusal.explained(asked.key[1], asked.path))

    async def bound(self, name: Name, type_url: str, resource: str) -> Refusal | None:
        """None: it is, and Envoy has taken the resource that leads there."""
        path, shown = name.path, refusal.explained(name.key, name.path)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._settled(name)
                nack = await self._ads.applied(type_url, resource) if name.clusters else None
        except TimeoutError:
            logger.warning("a request was not let go in time", extra={"fields": {"name": path.show()}})
            late = "Envoy has not taken it in time"
            return self._binder.refusal(name) if is_waiting(name) else refusal.unavailable(late, shown)
        if nack is not None:
            return refusal.unavailable(f"Envoy refused it: {nack.message}", shown)
        return None if name.clusters else self._binder.refusal(name)

    async def _settled(self, name: Name) -> None:
        if not is_waiting(name):
            return
        settled = asyncio.Event()
        name.waiters.append(settled.set)
        try:
            async with asyncio.timeout(HURRY_SECONDS):
                await settled.wait()
        except TimeoutError:
            self._binder.hurry(name)
            await settled.wait()


def _text(header: object) -> str:
    raw = getattr(header, "raw_value", b"") or getattr(header, "value", "").encode()
    return bytes(raw).decode("utf-8", "surrogateescape")


def _go(headers: Mapping[str, str]) -> ext_proc.ProcessingResponse:
    """Envoy goes on; the filters after this one look for the route again (mesh.envoy.listeners)."""
    response = ext_proc.ProcessingResponse()
    common = response.request_headers.response
    common.status = ext_proc.CommonResponse.CONTINUE
    for name, value in headers.items():
        option = common.header_mutation.set_headers.add(append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
        option.keep_empty_value = True
        option.header.key, option.header.raw_value = name, value.encode()
    return response


def _refuse(refused: Refusal) -> ext_proc.ProcessingResponse:
    response = ext_proc.ProcessingResponse()
    immediate = response.immediate_response
    immediate.status.CopyFrom(http_status_pb2.HttpStatus(code=refused.status))
    said = {"l5d-err": refused.err} if refused.err else {}
    for key, value in {**said, "content-type": "text/plain; charset=utf-8"}.items():
        option = immediate.headers.set_headers.add()
        option.header.key, option.header.raw_value = key, value.encode()
    immediate.body = refused.body.encode()
    immediate.details = "tieline_refused"
    return response


def handler(resolver: Resolver) -> grpc.GenericRpcHandler[ext_proc.ProcessingRequest, ext_proc.ProcessingResponse]:
    serve = grpc.stream_stream_rpc_method_handler(
        resolver.process,
        request_deserializer=ext_proc.ProcessingRequest.FromString,
        response_serializer=ext_proc.ProcessingResponse.SerializeToString,
    )
    _, service, method = METHOD.split("/")
    return grpc.method_handlers_generic_handler(service, {method: serve})
