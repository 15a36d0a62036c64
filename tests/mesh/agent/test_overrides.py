"""Requests that bring a table of their own, through a real agent and Envoy."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mesh.naming.dtab import parse_dtab
from mesh.naming.signature import sign
from scripts.ports import free_port
from tests.host import Answer, Host, host, running

KEY = b"0123456789abcdef"
TABLE = "/svc/users => /#/files/next"


@asynccontextmanager
async def echo(name: str) -> AsyncIterator[tuple[int, list[dict[str, str]]]]:
    """Answers with its name; keeps the headers it got."""
    got: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append({"path": request.raw_path, **{key.lower(): value for key, value in request.headers.items()}})
        return web.Response(text=name)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1], got
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running("/svc => /#/files") as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


async def delegated(host: Host, name: str, table: str = TABLE, **headers: str) -> Answer:
    return await host.call(name, **{"l5d-dtab": table, **headers})


async def test_only_the_request_with_a_table_takes_its_way(shared: Host) -> None:
    async with echo("users") as (users, _), echo("next") as (following, got):
        shared.put("users", users)
        shared.put("next", following)
        for _ in range(3):
            assert (await shared.call("users")).body == "users"
            assert (await delegated(shared, "users")).body == "next"
        asked = got[-1]
        assert asked["host"] == "users"
        assert asked["l5d-ctx-dtab"] == "/svc/users=>/#/files/next"
        assert "l5d-dtab" not in asked
        # The next hop has the table from there.
        context = {"l5d-ctx-dtab": asked["l5d-ctx-dtab"]}
        assert (await shared.call("users", **context)).body == "next"
        # What the caller says wins over what came with the request.
        both = await shared.call("users", **context, **{"l5d-dtab": "/svc/users => /#/files/users"})
        assert both.body == "users"


async def test_a_name_that_only_the_table_knows(shared: Host) -> None:
    async with echo("made-up") as (port, got):
        shared.put("behind", port)
        assert (await shared.call("made-up-name")).status == 404
        answer = await shared.call("made-up-name:8080", **{"l5d-dtab": "/svc/made-up-name => /#/files/behind"})
        assert answer.body == "made-up"
        assert got[-1]["host"] == "made-up-name:8080"
        assert (await shared.call("made-up-name")).status == 404


async def test_a_split_and_a_refusal_by_the_table(shared: Host) -> None:
    async with echo("one") as (one, _), echo("two") as (two, _):
        shared.put("one", one)
        shared.put("two", two)
        split = "/svc/users => 3 * /#/files/one & 1 * /#/files/two"
        answers = Counter([(await delegated(shared, "users", split)).body for _ in range(200)])
        assert 120 <= answers["one"] <= 180
        assert answers.total() == 200
        refused = await delegated(shared, "users", "/svc/users => !")
        assert (refused.status, refused.err) == (503, "refused by the table (!): /svc/users")
        missing = await delegated(shared, "nobody", "/svc/nobody => /#/files/nowhere")
        assert missing.status == 404
        assert missing.body.endswith("tieline explain /svc/nobody --dtab-local '/svc/nobody=>/#/files/nowhere'\n")


async def test_an_unreadable_table_says_where(shared: Host) -> None:
    answer = await delegated(shared, "users", "/svc/users => /#/files/next ; /svc")
    assert answer.status == 400
    assert answer.err.startswith("header l5d-dtab, line 1, column 3")
    many = await delegated(shared, "users", "/a => /b ;" * 1000)
    assert (many.status, many.err) == (400, "the tables of the request have more than 8192 bytes")


async def test_what_a_caller_sends_makes_no_route_that_envoy_would_refuse() -> None:
    """A table may be longer when it is passed on (weights), and so may another header that led to the name."""
    routers = [
        {"name": "host", "port": (by_host := free_port())},
        {"name": "header", "port": (by_header := free_port()), "identifier": {"kind": "header"}},
    ]
    async with echo("next") as (port, _), host(routers=routers) as started:
        started.put("next", port)
        wide = f"{TABLE} ; /a => {'&'.join(['2*/'] * 2000)}"
        refused = await started.call("users", port=by_host, **{"l5d-dtab": wide})
        said = "with a table, l5d-ctx-dtab is too long to be passed on"
        assert (refused.status, refused.err) == (400, said)
        long = {"l5d-name": f"/users/{'a' * 20_000}", "l5d-dtab": TABLE}
        refused = await started.call("x", port=by_header, **long)
        assert (refused.status, refused.err) == (400, "with a table, l5d-name is too long to be passed on")
        assert (await started.call("users", port=by_host, **{"l5d-dtab": TABLE})).body == "next"
        await started.no_nacks()


async def test_endpoints_that_change_reach_delegated_requests_too(shared: Host) -> None:
    async with echo("before") as (before, _), echo("after") as (after, _):
        shared.put("moving", before)
        table = "/svc/users => /#/files/moving"
        assert (await delegated(shared, "users", table)).body == "before"
        shared.put("moving", after)
        async with asyncio.timeout(10):
            while (await delegated(shared, "users", table)).body != "after":
                pass


async def test_every_way_to_identify_a_request_gives_the_service_what_was_sent() -> None:
    async with echo("next") as (port, got):
        ports = {name: free_port() for name in ("header", "path", "several")}
        routers = [
            {"name": "header", "port": ports["header"], "identifier": {"kind": "header"}},
            {"name": "path", "port": ports["path"], "identifier": {"kind": "path", "consume": True}},
            {
                "name": "several",
                "port": ports["several"],
                "identifier": [{"kind": "header"}, {"kind": "path", "segments": 2}],
            },
        ]
        async with host(routers=routers) as started:
            started.put("next", port)
            for _ in ("first", "again"):
                sent = {"l5d-dtab": TABLE, "name": "www.example.org:1"}
                via = await on(ports["header"], started, "/a", **sent, **{"l5d-name": "/users"})
                assert via.body == "next", via
                assert (got[-1]["l5d-name"], got[-1]["host"]) == ("/users", "www.example.org:1")
                assert (await on(ports["path"], started, "/users/a?b=1", **sent)).body == "next"
                assert got[-1]["path"] == "/a?b=1"
                assert (await on(ports["several"], started, "/users/v1/a", **sent)).body == "next"
                assert got[-1]["path"] == "/users/v1/a"
                assert not any(name.startswith("x-tieline") for name in got[-1])
            await started.no_nacks()


async def on(port: int, started: Host, path: str, **headers: str) -> Answer:
    return await started.call(headers.pop("name"), path, port=port, **headers)


async def test_a_router_that_others_can_reach_takes_no_table_and_passes_none_on() -> None:
    async with echo("users") as (users, got), echo("next") as (following, _):
        port = free_port()
        routers = [{"address": "0.0.0.0", "port": port}, {"name": "told", "port": free_port(), "overrides": False}]
        async with host(routers=routers) as started:
            started.put("users", users)
            started.put("next", following)
            for each in (port, routers[1]["port"]):
                answer = await started.call("users", port=int(str(each)), **{"l5d-dtab": TABLE, "l5d-ctx-dtab": TABLE})
                assert answer.body == "users"
                assert not {"l5d-dtab", "l5d-ctx-dtab"} & got[-1].keys()


async def test_signed_tables(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    port = free_port()
    router = {"port": port, "overrides": "signed", "overrides_key_file": str(tmp_path / "key")}
    async with echo("users") as (users, _), echo("next") as (following, got), host(routers=[router]) as started:
        started.put("users", users)
        started.put("next", following)
        assert (await started.call("users", port=port)).body == "users"
        until = int(time.time()) + 60
        signature = sign(KEY, parse_dtab(TABLE).show(), until)

        async def ask(said: str | None, **headers: str) -> Answer:
            signed = {} if said is None else {"l5d-dtab-signature": said}
            return await started.call("users", port=port, **{"l5d-dtab": TABLE, **signed, **headers})

        assert (await ask(signature)).body == "next"
        hop = {name: got[-1][name] for name in ("l5d-ctx-dtab", "l5d-dtab-signature")}
        assert (await started.call("users", port=port, **hop)).body == "next"
        unsigned = await ask(None)
        assert unsigned.status == 403
        assert unsigned.err.startswith("this router accepts no table without a signature")
        old = await ask(sign(KEY, parse_dtab(TABLE).show(), 1))
        assert (old.status, old.err) == (403, "l5d-dtab-signature holds no longer")
        other = await ask(signature, **{"l5d-dtab": "/svc/users => /#/files/other"})
        assert (other.status, other.err.split(" or ")[0]) == (403, "l5d-dtab-signature belongs to another table")
        assert (await ask("nonsense")).status == 403
        assert KEY.decode() not in started.agent.log.read_text()


async def test_tables_nobody_uses_any_more_are_forgotten_and_there_is_room_for_few() -> None:
    async with echo("next") as (port, _), host(names={"idle": "1s"}) as started:
        started.put("next", port)
        for number in range(20):
            answer = await delegated(started, "users", f"/svc/users => /#/files/next ; /n => /{number}")
            assert answer.body == "next"
        async with asyncio.timeout(20):
            while (await started.json("/status"))["names"]["delegated"]:  # type: ignore[index]  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert (await delegated(started, "users")).body == "next"


async def test_a_brain_that_is_killed_leaves_no_key_of_a_table_behind() -> None:
    async with echo("next") as (port, _), host() as started:
        started.put("next", port)
        assert (await delegated(started, "users")).body == "next"
        killed = started.agent.children()["brain"]
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(20):
            while started.agent.children().get("brain", killed) == killed:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        await started.agent.until_ready()
        assert (await delegated(started, "users")).body == "next"
        assert await started.names() == {}
