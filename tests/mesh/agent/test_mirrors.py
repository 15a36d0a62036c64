"""Copies of requests through a real agent and Envoy."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator

import aiohttp
import pytest

from mesh.agent import envoy_admin
from scripts.ports import free_port
from scripts.running import TIELINE, eventually
from tests.host import PATIENCE, Host, running
from tests.shaped import SHOWN, bound, calls, heard, many
from tests.upstream import Upstream, upstream

POLICIES: list[dict[str, object]] = [
    *SHOWN,
    {
        "match": "/svc/{some}-all",
        "mirror": [{"to": "/svc/{some}-copy"}],
        "headers": {"request": {"set": {"x-set": "1"}}},
    },
    {"match": "/svc/split", "mirror": [{"to": "/svc/split-copies", "percent": 50}]},
    {"match": "/svc/tried-all", "rewrite": {"prefix": "/a", "to": "/b"}, "retries": {"statuses": [500]}},
    {"match": "/svc/tried-all", "ejection": None, "timeout": {"request": "5s"}},
    {"match": "/svc/accounts", "headers": {"request": {"set": {"x-set": "1"}}}},
]
DTAB = "/svc => /#/files ; /svc/split-copies => 3 * /#/files/split-one & 1 * /#/files/split-two"


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(DTAB, policies=POLICIES, names={"linger": "500ms"}) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


async def test_a_mirror_gets_a_copy_of_every_request_and_nobody_waits_for_its_answer(shared: Host) -> None:
    async with bound(shared, "accounts") as it, bound(shared, "accounts-next") as mirror:
        mirror.status, mirror.answers = 500, {"x-from": "mirror"}
        mirror.free.clear()
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{shared.agent.url}/x?y", data=b"body" * 1000, headers={"host": "accounts"}) as answer,
        ):
            assert (answer.status, await answer.text(), answer.headers.get("x-from")) == (200, "accounts", None)
        assert await many(shared, "accounts", 4) == {200: 4}
        await heard(mirror, 5)
        [copied] = [each for each in mirror.heard if each.path == "/x?y"]
        assert copied.body == it.heard[0].body == "body" * 1000
        # Envoy says of a copy that it comes from itself.
        more = {name: copied.headers.pop(name) for name in ("x-envoy-internal", "x-forwarded-for")}
        assert copied.headers == it.heard[0].headers
        assert more["x-envoy-internal"] == ["true"]
        assert copied.headers["x-set"] == ["1"]


async def test_a_mirror_comes_and_goes_with_what_the_table_leads_it_to(shared: Host) -> None:
    async with bound(shared, "come-all"), upstream("first") as first, upstream("second") as second:
        assert await many(shared, "come-all", 3) == {200: 3}
        shared.put("come-copy", first.port)
        await told_of(shared, "come-all", "come-copy", first.port)
        await copied(shared, "come-all", first)
        shared.put("come-copy", second.port)
        await copied(shared, "come-all", second)
        shared.put("come-copy", free_port())
        assert await many(shared, "come-all", 3) == {200: 3}
        shared.put("come-copy", lines="")
        assert await many(shared, "come-all", 3) == {200: 3}
        shared.remove("come-copy")
        assert await many(shared, "come-all", 3) == {200: 3}

        async def withdrawn() -> bool:
            return b"/#/files/come-copy" not in await envoy_admin.get(
                shared.agent.folder / "run/envoy.sock", "/clusters"
            )

        await eventually(withdrawn, PATIENCE, "Envoy keeps the cluster of the mirror")
        assert await many(shared, "come-all", 3) == {200: 3}


async def told_of(host: Host, name: str, mirror: str, port: int) -> None:
    async def is_there() -> bool:
        [shown] = (await host.json(f"/explain?name={name}"))["mirrors"]  # type: ignore[misc]
        assert (shown["to"], shown["percent"]) == (f"/svc/{mirror}", 100)
        endpoints = shown["endpoints"].get(f"/#/files/{mirror}", [])
        return shown["outcome"] == "bound" and [each["port"] for each in endpoints] == [port]

    await eventually(is_there, PATIENCE, "explain does not show the mirror")


async def copied(host: Host, name: str, mirror: Upstream) -> None:
    """Until a request has been copied there."""

    async def came() -> bool:
        assert (await host.call(name)).status == 200
        return bool(mirror.heard)

    await eventually(came, PATIENCE, f"{mirror.name} gets no copies")


async def test_each_branch_of_a_union_gets_its_share_of_the_copies(shared: Host) -> None:
    async with bound(shared, "split") as it, bound(shared, "split-one") as one, bound(shared, "split-two") as two:
        await copied(shared, "split", one)
        await copied(shared, "split", two)
        it.heard.clear(), one.heard.clear(), two.heard.clear()
        assert await many(shared, "split", 400) == {200: 400}
        # 37.5 % and 12.5 %, five standard deviations off.
        assert 100 < len(one.heard) < 200
        assert 17 < len(two.heard) < 83


async def test_a_mirrored_name_is_retried_and_rewritten_like_others(shared: Host) -> None:
    async with bound(shared, "tried-all") as it, bound(shared, "tried-copy") as mirror:
        it.status = 500
        assert (await shared.call("tried-all", "/a/x")).status == 500
        assert [heard.path for heard in it.heard] == ["/b/x"] * 3
        await heard(mirror, 1)
        assert [heard.path for heard in mirror.heard] == ["/b/x"], "a retry is no request of its own"


async def test_grpc_calls_are_copied(shared: Host) -> None:
    seen: list[bytes] = []
    async with calls(shared, "calls-all") as call, calls(shared, "calls-copy", seen):
        assert await call(b"hello", timeout=10) == b"heard hello"
        await eventually(lambda: seen == [b"hello"], PATIENCE, "no copy")


async def test_explain_shows_where_copies_go(shared: Host) -> None:
    async with bound(shared, "shown-all"), bound(shared, "shown-copy"):
        command = [TIELINE, "explain", "shown-all", "--admin", str(shared.agent.admin)]
        done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
        assert "mirror 100 % to /svc/shown-copy: bound  /#/files/shown-copy (1)" in done.stdout
