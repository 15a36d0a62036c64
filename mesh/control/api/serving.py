"""Routes -> an aiohttp application: who asks, what is asked, the answer as JSON, and the record of every change.

    400  not understood        401  who are you?       403  not permitted     404  no such thing
    405  not with this method  408  the body is late   412  condition not met 413  too large
    500  a bug of ours         503  can't now; the text says why

Errors are `{"error": …}`, with more keys where the document says so. A change goes on when its caller leaves: what has
begun comes to an end and has its record.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import pwd
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from mesh.control.access import NOBODY, Access, Caller, Denied, Shown, demand
from mesh.control.api.reading import MOST_BODY, parsed, read_body, understood
from mesh.control.api.recording import Recording
from mesh.control.api.route import JSON, Answer, AnyRoute, Asked, NoBody, Refusal
from mesh.control.api.writing import refusal
from mesh.control.audit import Attempt, Audit, Unwritable
from mesh.control.store.protocol import NAMESPACE, StoreError

logger = logging.getLogger("tieline.api")

CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_NAMESPACE = re.compile(NAMESPACE)
_CREDENTIALS = struct.Struct("3i")


@dataclasses.dataclass(frozen=True, slots=True)
class Serving:
    """`changes`: where changes live until they end."""

    routes: list[AnyRoute]
    access: Access
    audit: Audit
    changes: asyncio.TaskGroup
    _under_way: set[asyncio.Task[web.StreamResponse]] = dataclasses.field(default_factory=set, init=False)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_bulkhead], client_max_size=MOST_BODY)
        for route in self.routes:
            app.router.add_route(route.method, route.path, self._handler(route))
            if route.method == "GET" and not any(_same(route, other) for other in self.routes):
                app.router.add_route("HEAD", route.path, self._handler(route))
        return app

    def _handler(self, route: AnyRoute) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not route.changes:
                return await self._answered(route, request, self._recording(NOBODY, request))
            change = self.changes.create_task(self._change(route, request))
            self._under_way.add(change)
            change.add_done_callback(self._under_way.discard)
            return await asyncio.shield(change)

        return handle

    async def end(self, seconds: float) -> None:
        """Changes under way have so long to come to their end; of the others the log knows that they have begun."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=seconds)
            for change in late:
                change.cancel()

    async def _change(self, route: AnyRoute, request: web.Request) -> web.StreamResponse:
        """Never raises: it is a task beside those of the others."""
        recording = self._recording(self._who(request), request)
        response = await _bulkhead(request, lambda asked: self._answered(route, asked, recording))
        error = None if response.status < 400 else _said(response)
        try:
            await recording.end(response.status, error)
        except Unwritable as unwritable:
            if not recording.has_begun:
                return _json(Answer({"error": f"nothing was changed: {unwritable}"}, 503))
            # It stands in the store, with who and why, and in the log as begun.
            logger.error("the end of a change has no record", extra={"fields": {"id": recording.id}})
        return response

    async def _answered(self, route: AnyRoute, request: web.Request, recording: Recording) -> web.StreamResponse:
        caller = self.access.caller(_shown(request)) if route.role is not None else NOBODY
        if route.role is not None:
            demand(caller, route.role)
        request[CALLER] = caller
        _check_namespace(request)
        query = understood(route.query, dict(request.query))
        body = parsed(route.body, await read_body(request)) if route.has_body else NoBody()
        reply = await route.answer(Asked(caller, query, body, recording, request))
        return _json(reply) if isinstance(reply, Answer) else reply

    def _who(self, request: web.Request) -> Caller:
        try:
            return self.access.caller(_shown(request))
        except Denied as denied:
            return denied.caller

    def _recording(self, caller: Caller, request: web.Request) -> Recording:
        what = f"{request.method} {request.path}"[:500]
        namespace = request.match_info.get("namespace", "")[:200]
        return Recording(self.audit, Attempt(caller.name, caller.via, _address(request), what, namespace))


@web.middleware
async def _bulkhead(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One request that fails does no harm to the others."""
    try:
        return await handler(request)
    except Denied as denied:
        headers = {"WWW-Authenticate": "Bearer"} if denied.status == 401 else {}
        return _json(Answer({"error": str(denied)}, denied.status, headers))
    except Refusal as refused:
        return _json(refused.answer)
    except StoreError as error:
        return _json(refusal(error).answer)
    except web.HTTPException as error:
        return _json(_of_aiohttp(request, error))
    except Exception:
        logger.exception("the API failed", extra={"fields": {"path": request.path}})
        return _json(Answer({"error": "internal error; the control plane's log has the details"}, 500))


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> Answer:
    headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    match error.status:
        case 404:
            text = f"there is no {request.path[:200]}; /v1/openapi.json says what there is"
        case 405:
            text = f"{request.path[:200]} is not for {request.method[:20]}, but for {headers.get('Allow', '')}"
        case 413:
            text = f"a body may have {MOST_BODY} bytes"
        case _:
            text = error.text or error.reason
    return Answer({"error": text}, error.status, headers)


def _check_namespace(request: web.Request) -> None:
    namespace = request.match_info.get("namespace")
    if namespace is not None and not _NAMESPACE.fullmatch(namespace) and request.path.startswith("/v1/"):
        text = f"a namespace is called by letters, digits, - and _, at most 100 of them, not {namespace[:100]!r}"
        raise Refusal(400, text)


def _json(answer: Answer) -> web.Response:
    if answer.value is None:
        return web.Response(status=answer.status, headers=answer.headers)
    body = dumped(answer.value) + b"\n"
    return web.Response(body=body, status=answer.status, headers=answer.headers, content_type=JSON)


def dumped(value: object) -> bytes:
    """As JSON. Text that no UTF-8 can hold is escaped, as JSON allows."""
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)  # type: ignore[arg-type]
    return json.dumps(value, default=_plain, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _said(response: web.StreamResponse) -> str | None:
    """The error of an answer of ours."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return None
    try:
        answer = json.loads(response.body)
    except ValueError:
        return None
    return str(answer.get("error", ""))[:500] if isinstance(answer, dict) else None


def _shown(request: web.Request) -> Shown:
    transport = request.transport
    if transport is None:
        return Shown(request.headers.get("Authorization"))
    user = _user(transport.get_extra_info("socket"))
    return Shown(request.headers.get("Authorization"), transport.get_extra_info("peercert"), user)


def _user(connection: Any) -> str | None:
    """Who opened the Unix socket; None: it is none."""
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    with socket.socket(fileno=os.dup(connection.fileno())) as sock:
        _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _address(request: web.Request) -> str:
    return request.remote or "unix"


def _same(route: AnyRoute, other: AnyRoute) -> bool:
    return other.method in ("HEAD", "*") and other.path == route.path
