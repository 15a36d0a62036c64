"""Names come into use with their first request and leave when nobody calls them; what lives on them is not cut."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from demo.calls import load
from scripts.running import eventually, service
from tests.host import PATIENCE, Host, running

DTAB = "/svc => /#/files ; /svc/colon => /#/files/a:b ; /svc/dotted => /#/files/a.b.c ; /svc/alias => /#/files/shared"
IDLE: dict[str, object] = {"idle": "1s", "linger": "300ms", "negative": "500ms"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(DTAB, names=IDLE) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


async def _until_gone(host: Host, key: str) -> None:
    async def gone() -> bool:
        return key not in await host.names()

    await eventually(gone, PATIENCE, f"{key} is still in use")


async def _clusters(host: Host) -> str:
    """The clusters Envoy counts requests for."""
    _, text = await host.agent.ask("/metrics")
    return "\n".join(line for line in text.splitlines() if line.startswith("tieline_bound_endpoints{"))


async def test_an_idle_name_is_unbound_and_the_next_request_binds_it_again(shared: Host) -> None:
    async with service("idle") as idle, service("busy") as busy:
        shared.put("idle", idle)
        shared.put("busy", busy)
        async with load(shared.agent.url, "busy", callers=2) as seen:
            await shared.until("idle", "idle")
            assert "/#/files/idle" in await _clusters(shared)
            await _until_gone(shared, "idle")
            in_use = (await shared.names())["busy"]
            assert cast("float", in_use["idle_seconds"]) < cast("float", in_use["age_seconds"])

            async def withdrawn() -> bool:
                return "/#/files/idle" not in await _clusters(shared)

            await eventually(withdrawn, PATIENCE, "the cluster of a name that is not in use stays")
            assert (await shared.call("idle")).body == "idle"
        assert not seen.failed
        assert set(seen.answers) == {"busy"}


@pytest.mark.parametrize("name", ["plain", "dotted", "colon"])
async def test_a_name_under_load_is_never_taken_for_idle(shared: Host, name: str) -> None:
    file = {"plain": "plain", "dotted": "a.b.c", "colon": "a:b"}[name]
    async with service(name) as port:
        shared.put(file, port)
        await shared.until(name, name)
        async with load(shared.agent.url, name, callers=1) as seen:

            async def older_than_two_idle_times() -> bool:
                return cast("float", (await shared.names())[name]["age_seconds"]) > 2.5

            await eventually(older_than_two_idle_times, 6, f"{name} is unbound again and again while it is called")
        assert not seen.failed


@asynccontextmanager
async def talking() -> AsyncIterator[int]:
    """A service that speaks WebSocket."""

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"heard {message.data}")
        return socket

    app = web.Application()
    app.router.add_get("/ws", talk)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("name", ["quiet", "colon"])
async def test_a_silent_websocket_outlives_the_idle_time(shared: Host, name: str) -> None:
    async with talking() as port, aiohttp.ClientSession() as session:
        shared.put({"quiet": "quiet", "colon": "a:b"}[name], port)
        async with session.ws_connect(f"{shared.agent.url}/ws", headers={"host": name}) as socket:
            await socket.send_str("one")
            assert await socket.receive_str() == "heard one"
            # Until other names that were called after it have come and gone twice.
            for number in range(2):
                await shared.call(f"passing{number}")
                shared.put(f"visitor{number}", port)
                await shared.call(f"visitor{number}")
                await _until_gone(shared, f"visitor{number}")
            await socket.send_str("two")
            assert (await socket.receive(timeout=5)).data == "heard two"
        assert name in await shared.names()


async def test_two_names_of_one_cluster_leave_one_by_one(shared: Host) -> None:
    async with service("shared") as port:
        shared.put("shared", port)
        await shared.until("shared", "shared")
        async with load(shared.agent.url, "alias", callers=1) as seen:
            await eventually(lambda: seen.answers["shared"] > 200, PATIENCE, "no load")
            assert "/#/files/shared" in await _clusters(shared)
        await _until_gone(shared, "shared")
        await _until_gone(shared, "alias")
        assert not seen.failed


async def test_a_name_without_endpoints_leaves_too(shared: Host) -> None:
    shared.put("hollow")
    assert (await shared.call("hollow")).status == 503
    await _until_gone(shared, "hollow")
    assert (await shared.call("hollow")).status == 503


async def test_rule_5_a_burst_of_changes_is_coalesced_and_its_last_one_wins(shared: Host) -> None:
    async with service("first") as first, service("last") as last:
        shared.put("burst", first)
        await shared.until("burst", "first")
        async with load(shared.agent.url, "burst", callers=1) as seen:
            before = await _sent(shared)
            envoy = shared.agent.children()["envoy"]
            # Envoy takes nothing meanwhile, so how many it gets does not depend on how fast this machine is.
            os.kill(envoy, signal.SIGSTOP)
            try:
                for number in range(500):
                    shared.put("burst", first, 1 + number % 60_000)
                shared.put("burst", last)

                async def is_known() -> bool:
                    return str(last) in (await shared.agent.ask("/explain?name=burst"))[1]

                await eventually(is_known, PATIENCE, "the last change is not known")
            finally:
                os.kill(envoy, signal.SIGCONT)
            assert await seen.until_answered_by("last", PATIENCE)
            assert await _sent(shared) - before < 10
        assert not seen.failed


async def _sent(host: Host) -> int:
    """Responses with endpoints that this Envoy got."""
    proxies = cast("list[dict[str, dict[str, dict[str, int]]]]", (await host.json("/status"))["proxies"])
    return sum(proxy["types"]["EDS"]["sent"] for proxy in proxies)
