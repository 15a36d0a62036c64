"""Answers Envoy for TLS connections whose server name is not bound yet (ext_authz): binds it, waits until Envoy has it.

A caller can't be told why its connection is closed, so the log says it: once, until it changes.
Source: envoy.service.auth.v3.Authorization.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping

import grpc.aio
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from mesh.agent import refusal
from mesh.agent.names import Key
from mesh.agent.refusal import Refusal
from mesh.agent.resolver import Resolver
from mesh.agent.stream_routers import StreamRouter
from mesh.envoy.listeners import ROUTER_METADATA
from mesh.naming.identify import Unidentified
from mesh.xds.resource import LISTENER

logger = logging.getLogger("tieline.sni")

SERVICE, METHOD = "envoy.service.auth.v3.Authorization", "Check"
REMEMBERED = 1000


class SniResolver:
    def __init__(self, resolver: Resolver, routers: Mapping[str, StreamRouter]) -> None:
        self._resolver = resolver
        self._routers = routers
        self._told: OrderedDict[Key, str] = OrderedDict()

    async def check(self, request: CheckRequest, context: grpc.aio.ServicerContext[object, object]) -> CheckResponse:
        router = str(dict(context.invocation_metadata() or ()).get(ROUTER_METADATA, ""))
        asked: Key = router, request.attributes.tls_session.sni
        refused = await self._resolve(*asked)
        self._tell(asked, refused)
        self._resolver.answers[200 if refused is None else refused.status] += 1
        answer = CheckResponse()
        answer.status.code = (grpc.StatusCode.OK if refused is None else grpc.StatusCode.PERMISSION_DENIED).value[0]
        return answer

    async def _resolve(self, router: str, server_name: str) -> Refusal | None:
        asked = self._routers[router].identify(server_name)
        if isinstance(asked, Unidentified):
            return refusal.unidentified(asked.reason)
        name = self._resolver.name(asked)
        # The listener has it when the cluster is warm: the session sends them in that order.
        return name if isinstance(name, Refusal) else await self._resolver.bound(name, LISTENER, router)

    def _tell(self, asked: Key, refused: Refusal | None) -> None:
        if refused is None:
            self._told.pop(asked, None)
            return
        if self._told.get(asked) != refused.err:
            fields = {"router": asked[0], "server_name": asked[1][:100], "why": refused.err}
            logger.warning("a TLS connection is closed", extra={"fields": fields})
        self._told[asked] = refused.err
        self._told.move_to_end(asked)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)


def handler(resolver: SniResolver) -> grpc.GenericRpcHandler[CheckRequest, CheckResponse]:
    check = grpc.unary_unary_rpc_method_handler(
        resolver.check,
        request_deserializer=CheckRequest.FromString,
        response_serializer=CheckResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: check})
