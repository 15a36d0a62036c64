"""Callers that take more than there is: the proxy stays, and serves the others, or serves again when they have left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from mesh.agent import envoy_admin
from scripts.running import eventually, service
from tests.host import PATIENCE, host

REQUEST = b"GET / HTTP/1.1\r\nhost: %s\r\n\r\n"
HOARDERS, BODY = 300, bytes(8 * 1024 * 1024)
MEMORY_MIB = 64


@asynccontextmanager
async def generous() -> AsyncIterator[int]:
    """A service whose answers are large."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=BODY)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def hoard(port: int, stack: AsyncExitStack) -> None:
    """Asks, and does not read the answer."""
    caller = stack.enter_context(socket.socket())
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.setblocking(False)
    await asyncio.get_running_loop().sock_connect(caller, ("127.0.0.1", port))
    await asyncio.get_running_loop().sock_sendall(caller, REQUEST % b"large")


async def test_no_more_callers_are_connected_than_configured() -> None:
    async with host(envoy={"connections": 20, "drain": "1s"}) as started, service("users") as port:
        started.put("users", port)
        assert (await started.call("users")).status == 200
        async with AsyncExitStack() as stack:
            served = 0
            for _ in range(40):
                reader, writer = await asyncio.open_connection("127.0.0.1", started.agent.port)
                stack.callback(writer.close)
                try:
                    writer.write(REQUEST % b"users")
                    served += (await reader.readline()).startswith(b"HTTP/1.1 200")
                except ConnectionError:
                    continue
            assert served == 20

        async def again() -> bool:
            try:
                return (await started.call("users")).status == 200
            except OSError:
                return False

        await eventually(again, PATIENCE, "nobody is served when all have left")
        await started.no_nacks()


async def test_who_hoards_memory_is_cut_or_refused_and_others_are_served() -> None:
    limits = {"connections": 20_000, "requests": 20_000}
    async with (
        host(
            envoy={"memory": f"{MEMORY_MIB}MiB", "drain": "1s"}, policies=[{"match": "/svc/large", "limits": limits}]
        ) as started,
        service("small") as small,
        generous() as large,
    ):
        started.put("small", small)
        started.put("large", large)
        envoy = started.agent.children()["envoy"]
        assert (await started.call("small")).status == 200

        async def served() -> bool:
            try:
                return (await started.call("small")).status == 200
            except OSError:
                return False

        await started.until("large", BODY.decode())
        async with AsyncExitStack() as stack:
            for _ in range(HOARDERS):
                await hoard(started.agent.port, stack)

            async def cut() -> bool:
                """Or refused, if the last of them came when there was nothing left."""
                counters = "/stats?filter=http.http.downstream_rq_(tx_reset|overload_close)"
                try:
                    stats = await envoy_admin.get(started.agent.folder / "run" / "envoy.sock", counters)
                except OSError:
                    return False  # it may be too busy to say
                return any(not line.endswith(": 0") for line in stats.decode().splitlines())

            await eventually(cut, PATIENCE, "nobody is cut")
            # Where no memory is left for a moment, requests are refused.
            await eventually(served, PATIENCE, "the small name is not served beside those that hoard")
        assert started.agent.children()["envoy"] == envoy
        await started.no_nacks()
