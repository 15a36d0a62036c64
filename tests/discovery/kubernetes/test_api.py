"""One question to an API server, and what its answers are to us: refusals, secrets, connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import pytest
from aiohttp import web

from discovery.kubernetes.access import Access
from discovery.kubernetes.api import Api, TooOld, session
from discovery.kubernetes.credentials import Anonymous, Credential, TokenFile
from discovery.source import Misconfigured, Unavailable

SERVICES = "/api/v1/services"
RBAC = (
    'services is forbidden: User "system:serviceaccount:mesh:tieline" cannot list resource "services" '
    'in API group "" at the cluster scope'
)

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def status(code: int, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return web.json_response(body, status=code)


@asynccontextmanager
async def asking(answer: Answer, credential: Credential | None = None, below: str = "") -> AsyncIterator[Api]:
    runner = web.ServerRunner(web.Server(answer, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        access = Access(f"http://127.0.0.1:{runner.addresses[0][1]}{below}", credential or Anonymous())
        async with session(access) as http:
            yield Api(access, http, timeout=10)
    finally:
        await runner.cleanup()


async def test_an_answer_is_its_body_and_a_query_is_quoted() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response([request.path, dict(request.query), request.headers["Accept-Encoding"]])

    async with asking(answer, below="/k8s/clusters/c-1") as api:
        body = await api.read(SERVICES, {"labelSelector": "team in (a,b),tier!=x", "continue": "a+b/c="})
    assert body == (
        b'["/k8s/clusters/c-1/api/v1/services", '
        b'{"labelSelector": "team in (a,b),tier!=x", "continue": "a+b/c="}, "identity"]'
    )


async def test_what_rbac_refuses_is_told_with_what_to_allow() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return status(403, RBAC)

    async with asking(answer) as api:
        with pytest.raises(Misconfigured) as caught:
            await api.read(SERVICES, {})
    assert f"answers 403 to {SERVICES}: {RBAC} (allow get, list and watch of" in str(caught.value)


async def test_410_is_too_old_and_no_refusal() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return status(410, "too old resource version: 1 (214)")

    async with asking(answer) as api:
        with pytest.raises(TooOld):
            await api.read(SERVICES, {})
        with pytest.raises(TooOld):
            async with api.watch(SERVICES, {"watch": "true"}, silence=10):
                pass


@pytest.mark.parametrize("code", [408, 429, 500, 503, 504])
async def test_what_may_be_over_soon_is_unavailable(code: int) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=code, text="busy:\n  come back")

    async with asking(answer) as api:
        with pytest.raises(Unavailable, match=f"answers {code} to {SERVICES}: busy: come back"):
            await api.read(SERVICES, {})


async def test_a_token_is_renewed_once_when_it_is_refused(tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    file.write_text("t0ken-1")
    seen = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers["Authorization"])
        file.write_text(f"t0ken-{len(seen) + 1}")
        return web.Response() if seen[-1] == "Bearer t0ken-2" else status(401, "Unauthorized")

    async with asking(answer, TokenFile(file)) as api:
        assert await api.read(SERVICES, {}) == b""
        assert seen == ["Bearer t0ken-1", "Bearer t0ken-2"]
        with pytest.raises(Misconfigured, match="check the token"):
            await api.read(SERVICES, {})
    assert seen[2:] == ["Bearer t0ken-3", "Bearer t0ken-4"], "and not asked again for ever"


async def test_a_server_that_repeats_our_token_does_not_get_it_into_the_error(tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    file.write_text("t0ken")

    async def answer(request: web.BaseRequest) -> web.Response:
        return status(403, f"no rights for {request.headers['Authorization']}, that is t0ken")

    async with asking(answer, TokenFile(file)) as api:
        with pytest.raises(Misconfigured) as caught:
            await api.read(SERVICES, {})
    assert "t0ken" not in str(caught.value)
    assert "no rights for ***, that is ***" in str(caught.value)


async def test_a_token_is_not_taken_to_where_a_redirect_leads(tmp_path: FilePath) -> None:
    file = tmp_path / "token"
    file.write_text("t0ken")
    seen = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/login"})

    async with asking(answer, TokenFile(file)) as api:
        with pytest.raises(Misconfigured, match="answers 302"):
            await api.read(SERVICES, {})
    assert seen == [SERVICES]


async def test_an_answer_that_breaks_off_is_unavailable() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    async with asking(answer) as api:
        with pytest.raises(Unavailable, match=f"broke off its answer to {SERVICES}"):
            await api.read(SERVICES, {})


async def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        access = Access(f"http://127.0.0.1:{once.getsockname()[1]}", Anonymous())
    async with session(access) as http:
        with pytest.raises(Unavailable, match=f"cannot be asked for {SERVICES}"):
            await Api(access, http, timeout=10).read(SERVICES, {})


async def test_the_other_end_of_a_silent_watch_is_probed() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async with asking(answer) as api, api.watch(SERVICES, {"watch": "true"}, silence=10) as response:
        assert response.connection is not None
        assert response.connection.transport is not None
        made = response.connection.transport.get_extra_info("socket")
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, every, times = (
            made.getsockopt(socket.IPPROTO_TCP, each)
            for each in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + every * times <= 30
