"""Namerd's `/bind`, `/addr`, `/resolve`, `/delegate` and `/bound-names`, over a real source."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest

from scripts.running import eventually
from tests.control import PATIENCE, control

NOBODY = [{"kind": "consul", "address": "http://127.0.0.1:1"}]
"""A source whose platform does not answer."""


def bound(*ports: int) -> dict[str, Any]:
    return {"type": "bound", "addrs": [{"ip": "127.0.0.1", "port": port, "meta": {}} for port in ports], "meta": {}}


def leaf(name: str, *ports: int, residual: str = "/") -> dict[str, Any]:
    return {"type": "leaf", "bound": {"addr": bound(*ports), "id": f"/#/files/{name}", "path": residual}}


async def line(stream: asyncio.StreamReader) -> Any:
    return json.loads(await asyncio.wait_for(stream.readline(), PATIENCE))


def path(call: str, name: str, namespace: str = "/default", **more: str) -> str:
    query = "".join(f"&{key}={quote(value, safe='')}" for key, value in more.items())
    return f"/api/1/{call}{namespace}?path={quote(name, safe='')}{query}"


@pytest.mark.parametrize(
    ("dtab", "tree"),
    [
        pytest.param("/svc => /#/files", leaf("users", 1), id="leaf"),
        pytest.param("/svc => /#/files/other", leaf("other", 2, 3, residual="/users"), id="residual"),
        pytest.param(
            "/svc/users => 3 * /#/files/users & 1 * /#/files/other",
            {
                "type": "union",
                "union": [{"weight": 3.0, "tree": leaf("users", 1)}, {"weight": 1.0, "tree": leaf("other", 2, 3)}],
            },
            id="union",
        ),
        pytest.param("/svc => /#/files/none | /#/files", leaf("users", 1), id="alternative"),
        pytest.param("/svc => ~", {"type": "neg"}, id="neg"),
        pytest.param("/svc => !", {"type": "fail"}, id="fail"),
        pytest.param("/svc => $", {"type": "empty"}, id="empty"),
        pytest.param("/x => /y", {"type": "neg"}, id="nothing"),
    ],
)
async def test_bind_tells_the_bound_tree(dtab: str, tree: dict[str, Any]) -> None:
    async with control() as served:
        served.name("users", 1)
        served.name("other", 2, 3)
        await served.put(dtab)
        said = await served.get(path("bind", "/svc/users"), by="reader")
        assert (said.status, said.headers["content-type"]) == (200, "application/json")
        assert said.json == tree


async def test_bind_takes_a_local_table_which_wins() -> None:
    async with control() as served:
        served.name("users", 1)
        served.name("other", 2)
        await served.put("/svc => /#/files")
        said = await served.get(path("bind", "/svc/users", dtab="/svc/users => /#/files/other"))
        assert said.json == leaf("other", 2)


async def test_an_absent_namespace_is_bound_as_an_empty_table() -> None:
    async with control() as served:
        served.name("users", 1)
        assert (await served.get(path("bind", "/svc/users", "/none"))).json == {"type": "neg"}
        assert (await served.get(path("bind", "/#/files/users", "/none"))).json == leaf("users", 1)


BAD: list[Any] = [
    pytest.param("path=invalid", "Invalid path", id="path"),
    pytest.param("path=/a//b", "Invalid path", id="hole"),
    pytest.param("", "a path is needed", id="no path"),
    pytest.param("path=/a&dtab=/b", "Invalid dtab", id="table"),
]


@pytest.mark.parametrize("call", ["bind", "addr", "resolve", "delegate"])
@pytest.mark.parametrize(("query", "said"), BAD)
async def test_an_unreadable_question_is_400(call: str, query: str, said: str) -> None:
    async with control() as served:
        answer = await served.get(f"/api/1/{call}/default?{query}")
        assert answer.status == 400
        assert said in answer.error


async def test_a_watched_name_has_a_line_for_each_change_of_table_or_addresses() -> None:
    async with control() as served:
        served.name("users", 1)
        served.name("other", 2)
        await served.put("/svc => /#/files")
        async with served.lines(path("bind", "/svc/users", watch="true")) as stream:
            assert await line(stream) == leaf("users", 1)
            served.name("users", 1, 5)
            assert await line(stream) == leaf("users", 1, 5)
            await served.put("/svc/users => /#/files/other")
            assert await line(stream) == leaf("other", 2)
            served.name("users", 7)
            await served.put("/svc => ~")
            assert await line(stream) == {"type": "neg"}, "what the name does not lead to is not told"


async def test_a_watched_name_of_an_absent_namespace_changes_when_that_comes() -> None:
    async with control() as served:
        served.name("users", 1)
        async with served.lines(path("bind", "/svc/users", watch="1")) as stream:
            assert await line(stream) == {"type": "neg"}
            await served.put("/svc => /#/files")
            assert await line(stream) == leaf("users", 1)


async def test_a_circle_is_500_and_in_a_stream_text_and_the_end() -> None:
    circle = "/a => /b ; /b => /a"
    async with control() as served:
        said = await served.get(path("bind", "/a", dtab=circle))
        assert said.status == 500
        assert "rewrites in a circle" in said.error
        async with served.lines(path("bind", "/a", dtab=circle, watch="1")) as stream:
            text = await asyncio.wait_for(stream.read(), PATIENCE)
            assert b"rewrites in a circle" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/#/files/users", bound(1, 2)),
        ("/%/io.l5d.port/4140/#/files/users", bound(1, 2)),
        ("/#/files/none", {"type": "neg"}),
        ("/$/nil", bound()),
        ("/$/fail", {"type": "failed", "cause": "name tree failed"}),
        ("/$/inet/127.0.0.1/8080", bound(8080)),
        ("/svc/both", {"type": "failed", "cause": "/svc/both is not a concrete bound id"}),
    ],
)
async def test_addr_tells_the_addresses_of_a_bound_id(name: str, said: dict[str, Any]) -> None:
    async with control() as served:
        served.name("users", 1, 2)
        served.name("other", 3)
        await served.put("/svc/both => /#/files/users & /#/files/other")
        assert (await served.get(path("addr", name))).json == said


async def test_a_watched_address_follows_its_source() -> None:
    async with control() as served:
        served.name("users", 1)
        async with served.lines(path("addr", "/#/files/users", watch="1")) as stream:
            assert await line(stream) == bound(1)
            served.name("users", 1, 2)
            assert await line(stream) == bound(1, 2)
            (served.folder / "disco" / "users").unlink()
            assert await line(stream) == {"type": "neg"}


async def test_resolve_is_bind_and_addr_and_draws_a_branch_by_weight() -> None:
    async with control() as served:
        served.name("users", 1)
        served.name("other", 2)
        await served.put("/svc => /#/files ; /svc/both => 9 * /#/files/users & 1 * /#/files/other")
        assert (await served.get(path("resolve", "/svc/users"))).json == bound(1)
        assert (await served.get(path("resolve", "/svc/none"))).json == {"type": "neg"}
        drawn = Counter([(await served.get(path("resolve", "/svc/both"))).json["addrs"][0]["port"] for _ in range(200)])
        assert set(drawn) == {1, 2}
        assert drawn[1] > drawn[2]


async def test_a_watched_resolution_follows_table_and_addresses() -> None:
    async with control() as served:
        served.name("users", 1)
        await served.put("/svc => /#/files")
        async with served.lines(path("resolve", "/svc/users", watch="1")) as stream:
            assert await line(stream) == bound(1)
            served.name("users", 2)
            assert await line(stream) == bound(2)
            await served.put("/svc => ~")
            assert await line(stream) == {"type": "neg"}


async def test_delegate_tries_every_alternative_also_those_after_the_winner() -> None:
    async with control() as served:
        served.name("users", 1)
        served.name("other", 2)
        await served.put("/svc => /#/files/none | /#/files | /#/files/other")
        said = (await served.get(path("delegate", "/svc/users"))).json
        ends = said["delegate"]["alt"] if "delegate" in said else said["alt"]
        assert [each["type"] for each in ends] == ["neg", "leaf", "leaf"]
        first = ends[1]
        assert first["path"] == "/#/files/users"
        assert first["dentry"] == {"prefix": "/svc", "dst": "/#/files/none | /#/files | /#/files/other"}
        assert first["bound"] == {"addr": bound(1), "id": "/#/files/users", "path": "/"}
        await served.put("/svc => /#/files")
        root = (await served.get(path("delegate", "/svc/users"))).json
        assert (root["type"], "dentry" in root) == ("delegate", False), "the root's is a no-op"


async def test_delegate_without_a_namespace_goes_by_the_table_alone() -> None:
    table = "/svc => /#/files"
    async with control() as served:
        served.name("users", 1)
        asked = [
            await served.get(path("delegate", "/svc/users", "", dtab=table)),
            await served.ask("POST", "/api/1/delegate", json={"path": "/svc/users", "dtab": table}),
        ]
        for said in asked:
            assert said.status == 200
            assert said.json["delegate"]["bound"]["addr"] == bound(1)
        assert (await served.get(path("delegate", "/svc/users", ""))).json["type"] == "neg"
        await served.put(table, "other")
        said = await served.get(path("delegate", "/svc/users", "") + "&namespace=other")
        assert said.json["type"] == "delegate"


async def test_a_posted_delegation_that_does_not_read_is_415_or_400() -> None:
    async with control() as served:
        said = await served.ask("POST", "/api/1/delegate", data=b"/a", headers={"Content-Type": "text/plain"})
        assert said.status == 415
        for body in (b"{", b"{}", b'{"path":"/a"}', b'{"path":"a","dtab":""}', b'{"path":"/a","dtab":"/b"}'):
            said = await served.ask("POST", "/api/1/delegate", data=body, headers={"Content-Type": "application/json"})
            assert said.status == 400, body
        assert (await served.ask("PUT", "/api/1/delegate")).status == 405


async def test_a_source_that_does_not_answer_makes_delegate_503_after_two_seconds() -> None:
    async with control(sources=NOBODY, naming={"bind_timeout": "60s"}) as served:
        await served.put("/svc => /#/consul/dc1")
        said = await served.get(path("delegate", "/svc/users"))
        assert said.status == 503
        assert "within 2 s" in said.error


async def test_a_source_that_fails_counts_as_missing_after_the_bind_timeout() -> None:
    async with control(sources=NOBODY, naming={"bind_timeout": "100ms"}) as served:
        await served.put("/svc => /#/consul/dc1 | /$/inet/127.0.0.1/80")
        said = (await served.get(path("bind", "/svc/users"))).json
        assert said["bound"]["id"] == "/$/inet/127.0.0.1/80"


async def test_bound_names_are_those_that_sources_list() -> None:
    async with control() as served:
        assert (await served.get("/api/1/bound-names")).json == []
        served.name("users", 1)
        served.name("other", 2)
        said = await served.get("/api/1/bound-names")
        assert said.json == ["/#/files/other", "/#/files/users"]
        async with served.lines("/api/1/bound-names?watch=1") as stream:
            assert await line(stream) == ["/#/files/other", "/#/files/users"]


async def test_names_that_can_not_be_listed_are_no_empty_list() -> None:
    async with control(sources=NOBODY) as served:
        said = await served.get("/api/1/bound-names")
        assert said.status == 503
        assert "/#/consul" in said.error


# Streams


async def test_a_stream_ends_when_its_caller_goes_and_releases_what_it_wanted() -> None:
    async with control() as served:
        served.name("users", 1)
        await served.put("/svc => /#/files")
        async with served.lines(path("bind", "/svc/users", watch="1")) as stream:
            await line(stream)
            assert len(served.control.watching) == 1
        await eventually(lambda: not len(served.control.watching), PATIENCE, "the stream is still open")


async def test_there_are_only_so_many_streams_at_once() -> None:
    async with control() as served:
        served.control.watching.most = 2
        async with served.lines("/api/1/dtabs?watch=1"), served.lines("/api/1/dtabs?watch=1"):
            said = await served.get("/api/1/dtabs?watch=1")
            assert said.status == 503
            assert "2 streams are open here" in said.error
            assert (await served.get("/api/1/dtabs")).status == 200
        await eventually(lambda: not len(served.control.watching), PATIENCE, "the streams are still open")
        async with served.lines("/api/1/dtabs?watch=1") as stream:
            assert await line(stream) == []


async def test_a_reader_that_is_slow_gets_the_last_table_and_not_all_of_them() -> None:
    """What it was not sent was never kept."""
    async with control() as served:
        port = served.control.listens.result()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        writer.write(b"GET /api/1/dtabs/default?watch=1 HTTP/1.0\r\naccept: application/dtab\r\n\r\n")
        await writer.drain()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(100):
            await served.put(f"/a => /{number} ; /b => /{'c' * 100_000}")
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        lines = 0
        while not (text := await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"/a=>/99;"):
            lines += text.startswith(b"/a=>")
        assert lines < 99
        writer.close()
        await writer.wait_closed()
