"""The admin API over HTTP, on a Unix socket and (unless switched off) a loopback port.

    GET /healthz                    200 while the brain runs
    GET /readyz                     200 once an Envoy has acknowledged its configuration, else 503
    GET /explain?name=&router=&dtab=   why a name leads where it leads
    GET /names[?all=1]              the names in use; with all=1 what the sources could name
    GET /status                     sources, proxies, what Envoy acknowledged and refused
    GET /metrics                    Prometheus text: the proxy's and the brain's

Errors are JSON: {"error": …}. 400: the question is malformed, 404: no such page or router.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path as File
from typing import Protocol

from aiohttp import web

from discovery.path import PathSyntaxError
from mesh.agent.explainer import UnknownRouter
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab

logger = logging.getLogger("tieline.admin")


class Facts(Protocol):
    """What the API tells; the brain has it."""

    def ready(self) -> bool: ...
    async def explain(self, name: str, router: str | None, local: Dtab | None) -> dict[str, object]: ...
    def names(self) -> dict[str, object]: ...
    async def catalog(self) -> dict[str, object]: ...
    async def status(self) -> dict[str, object]: ...
    async def metrics(self) -> str: ...


SHUTDOWN_SECONDS = 0.5
FACTS: web.AppKey[Facts] = web.AppKey("facts")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _bulkhead(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One request that fails does no harm to the others."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        answer = _json({"error": error.text or error.reason}, error.status)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except (PathSyntaxError, DtabSyntaxError, ValueError) as error:
        return _json({"error": str(error)}, 400)
    except UnknownRouter as error:
        return _json({"error": str(error)}, 404)
    except Exception:
        logger.exception("the admin API failed", extra={"fields": {"path": request.path}})
        return _json({"error": "internal error; the agent's log has the details"}, 500)


def _json(value: object, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, dumps=lambda each: json.dumps(each, default=str))


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    ready = request.app[FACTS].ready()
    return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)


async def _explain(request: web.Request) -> web.Response:
    name = request.query.get("name")
    if not name:
        raise web.HTTPBadRequest(text="a name is needed: /explain?name=users")
    local = request.query.get("dtab")
    return _json(
        await request.app[FACTS].explain(name, request.query.get("router"), parse_dtab(local) if local else None)
    )


async def _names(request: web.Request) -> web.Response:
    facts = request.app[FACTS]
    return _json(await facts.catalog() if request.query.get("all") else facts.names())


async def _status(request: web.Request) -> web.Response:
    return _json(await request.app[FACTS].status())


async def _metrics(request: web.Request) -> web.Response:
    text = await request.app[FACTS].metrics()
    return web.Response(text=text, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})


def application(facts: Facts) -> web.Application:
    app = web.Application(middlewares=[_bulkhead])
    app[FACTS] = facts
    pages = {
        "/healthz": _healthz,
        "/readyz": _readyz,
        "/explain": _explain,
        "/names": _names,
        "/status": _status,
        "/metrics": _metrics,
    }
    for path, page in pages.items():
        app.router.add_get(path, page)
    return app


async def _listen(runner: web.AppRunner, address: str, port: int) -> int | None:
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        fields = {"address": address, "port": port, "error": error.strerror}
        logger.error("the admin port can't be listened on; only the Unix socket answers", extra={"fields": fields})
        return None
    bound: int = runner.addresses[-1][1]
    return bound


@asynccontextmanager
async def serving(facts: Facts, socket: File, address: str, port: int | None) -> AsyncIterator[int | None]:
    """Yields the port that is listened on, None when only the socket is."""
    runner = web.AppRunner(
        application(facts), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        socket.unlink(missing_ok=True)
        await web.UnixSite(runner, str(socket)).start()
        socket.chmod(0o600)
        if port is None:
            yield None
        else:
            yield await _listen(runner, address, port)
    finally:
        await runner.cleanup()
        socket.unlink(missing_ok=True)
