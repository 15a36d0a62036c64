"""Namerd's `/api/1/dtabs`, line by line: verbs, statuses, content types, stamps, streams."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.control import control

ALL = "/api/1/dtabs"
ONE = "/api/1/dtabs/default"
DTAB = {"Content-Type": "application/dtab"}
TABLE = [{"prefix": "/svc", "dst": "/#/files"}]
PATIENCE = 10.0


async def line(stream: Any) -> bytes:
    return bytes(await asyncio.wait_for(stream.readline(), PATIENCE))


# GET /dtabs


@pytest.mark.parametrize("path", [ALL, f"{ALL}/"])
async def test_the_list_is_sorted_names_in_json(path: str) -> None:
    async with control() as served:
        assert (await served.get(path)).body == b"[]\n"
        for namespace in ("b", "a", "c"):
            await served.put("/x => /y", namespace)
        await served.ask("DELETE", f"{ALL}/c")
        said = await served.get(path)
        assert (said.status, said.body, said.headers["content-type"]) == (200, b'["a","b"]\n', "application/json")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_any_verb_lists(method: str) -> None:
    async with control() as served:
        await served.put("/x => /y", "a")
        said = await served.ask(method, ALL, by="reader")
        assert (said.status, said.body) == (200, b"" if method == "HEAD" else b'["a"]\n')


@pytest.mark.parametrize("watch", ["true", "1"])
async def test_a_watched_list_has_a_line_for_each_change_and_no_duplicates(watch: str) -> None:
    async with control() as served, served.lines(f"{ALL}?watch={watch}") as stream:
        assert await line(stream) == b"[]\n"
        await served.put("/x => /y", "b")
        assert await line(stream) == b'["b"]\n'
        await served.put("/x => /z", "b")
        await served.put("/x => /y", "a")
        assert await line(stream) == b'["a","b"]\n', "another version of a table is no change of the list"


@pytest.mark.parametrize("watch", ["false", "0", "yes", ""])
async def test_watch_takes_true_and_1_alone(watch: str) -> None:
    async with control() as served:
        assert (await served.get(f"{ALL}?watch={watch}")).body == b"[]\n"


# GET, HEAD /dtabs/<ns>


async def test_a_table_is_json_by_default_with_an_unquoted_etag() -> None:
    async with control() as served:
        await served.put("/svc => /#/files # as written\n;")
        said = await served.get(ONE)
        assert (said.status, said.json, said.headers["content-type"]) == (200, TABLE, "application/json")
        assert base64.b64decode(said.headers["etag"]) == b"1"
        head = await served.ask("HEAD", ONE)
        assert (head.status, head.headers["etag"], head.body) == (200, said.headers["etag"], b"")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/dtab", "application/dtab"),
        ("text/plain", "text/plain"),
        ("application/json", "application/json"),
        ("application/dtab, application/json", "application/dtab"),
        ("image/png, Text/Plain;q=0.5", "text/plain"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
    ],
)
async def test_accept_chooses_the_first_type_there_is(accept: str, kind: str) -> None:
    async with control() as served:
        await served.put("/svc => /#/files ; /b => 9 * /c & 1 * /d | ~")
        said = await served.get(ONE, headers={"Accept": accept})
        assert said.headers["content-type"].partition(";")[0] == kind
        dtab = b"/svc=>/#/files;/b=>9.00*/c & /d | ~\n"
        assert said.body == dtab if kind != "application/json" else said.json[0] == TABLE[0]


async def test_an_absent_namespace_is_404() -> None:
    async with control() as served:
        assert (await served.get(ONE)).status == 404
        assert (await served.ask("HEAD", ONE)).status == 404
        await served.put("/a => /b")
        await served.ask("DELETE", ONE)
        assert (await served.get(ONE)).status == 404


async def test_a_watched_table_has_one_line_for_each_without_etag() -> None:
    async with control() as served:
        await served.put("/svc => /#/files ;\n/b => /c")
        async with served.session.get(f"{ONE}?watch=true", headers={"Accept": "application/dtab"}) as response:
            assert "etag" not in response.headers
            assert response.headers["content-type"] == "application/dtab"
            assert await line(response.content) == b"/svc=>/#/files;/b=>/c\n"
            await served.put("/a => /1")
            assert await line(response.content) == b"/a=>/1\n"
        async with served.lines(f"{ONE}?watch=1") as stream:
            assert json.loads(await line(stream)) == [{"prefix": "/a", "dst": "/1"}]


async def test_a_watched_absent_namespace_tells_nothing_until_it_exists_and_not_when_it_goes() -> None:
    async with control() as served, served.lines(f"{ONE}?watch=true") as stream:
        await served.put("/other => /x", "other")
        await served.put("/a => /1")
        assert json.loads(await line(stream)) == [{"prefix": "/a", "dst": "/1"}]
        await served.ask("DELETE", ONE)
        await served.put("/a => /2")
        assert json.loads(await line(stream)) == [{"prefix": "/a", "dst": "/2"}]


# POST /dtabs/<ns>


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/dtab", b"/svc => /#/files"),
        ("text/plain", b"/svc => /#/files;"),
        ("text/plain; charset=utf-8", b"/svc => /#/files"),
        ("application/json", json.dumps(TABLE).encode()),
    ],
)
async def test_post_creates(kind: str, body: bytes) -> None:
    async with control() as served:
        said = await served.ask("POST", ONE, data=body, headers={"Content-Type": kind})
        assert (said.status, said.body) == (204, b"")
        assert (await served.get(ONE)).json == TABLE
        assert (await served.get("/v1/namespaces/default")).json["who"] == "writer"


async def test_post_of_what_exists_is_409() -> None:
    async with control() as served:
        await served.put("/a => /b")
        said = await served.ask("POST", ONE, data=b"/a => /c", headers=DTAB)
        assert said.status == 409
        assert (await served.get(ONE)).json == [{"prefix": "/a", "dst": "/b"}]
        await served.ask("DELETE", ONE)
        assert (await served.ask("POST", ONE, data=b"/a => /c", headers=DTAB)).status == 204


UNREADABLE: list[Any] = [
    pytest.param("application/dtab", b"/a = /b", id="table"),
    pytest.param("application/dtab", b"/a => /b ; /b => /a", id="circle"),
    pytest.param("application/dtab", b"\xff", id="bytes"),
    pytest.param("application/json", b"{}", id="no list"),
    pytest.param("application/json", b"[", id="no JSON"),
    pytest.param("application/json", b"[" * 100_000, id="deep"),
    pytest.param("application/json", b"[null]", id="null"),
    pytest.param("application/json", b'[{"prefix":"/a"}]', id="no dst"),
    pytest.param("application/json", b'[{"prefix":"/a","dst":"/b","why":"x"}]', id="unknown key"),
    pytest.param("application/json", b'[{"prefix":"/a","dst":"/b ; /c => /d"}]', id="two in one"),
    pytest.param("application/json", b'[{"prefix":"/a","dst":3}]', id="number"),
    pytest.param("image/png", b"/a => /b", id="type"),
    pytest.param(None, b"/a => /b", id="no type"),
]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("kind", "body"), UNREADABLE)
async def test_what_does_not_read_is_400(method: str, kind: str | None, body: bytes) -> None:
    async with control() as served:
        more: dict[str, Any] = {"headers": {"Content-Type": kind}} if kind else {"skip_auto_headers": ["Content-Type"]}
        said = await served.ask(method, ONE, data=body, **more)
        assert said.status == 400, said.body
        assert (await served.get(ONE)).status == 404


# PUT /dtabs/<ns>


async def test_put_changes_and_creates_too() -> None:
    async with control() as served:
        assert (await served.ask("PUT", ONE, data=b"/a => /1", headers=DTAB)).status == 204
        assert (await served.ask("PUT", ONE, data=b"/a => /2", headers=DTAB)).status == 204
        assert (await served.get(ONE)).json == [{"prefix": "/a", "dst": "/2"}]


async def test_put_leaves_policies_as_they_are() -> None:
    policies = "- {match: /svc/users, timeout: {request: 5s}}"
    async with control() as served:
        body = {"dtab": "/a => /1", "policies": policies}
        assert (await served.ask("PUT", "/v1/namespaces/default", json=body)).status == 200
        assert (await served.ask("PUT", ONE, data=b"/a => /2", headers=DTAB)).status == 204
        assert (await served.get("/v1/namespaces/default")).json["policies"] == policies


@pytest.mark.parametrize("quote", ["", '"'])
async def test_put_with_a_stamp_compares_and_sets(quote: str) -> None:
    async with control() as served:
        await served.put("/a => /1")
        stamp = (await served.get(ONE)).headers["etag"]
        headers = {**DTAB, "If-Match": f"{quote}{stamp}{quote}"}
        assert (await served.ask("PUT", ONE, data=b"/a => /2", headers=headers)).status == 204
        assert (await served.ask("PUT", ONE, data=b"/a => /3", headers=headers)).status == 412
        assert (await served.get(ONE)).json == [{"prefix": "/a", "dst": "/2"}]


@pytest.mark.parametrize("stamp", ["yolo", "MTc=", "AAAA", "", "*"])
async def test_put_with_another_stamp_is_412_and_of_an_absent_namespace_404(stamp: str) -> None:
    async with control() as served:
        headers = {**DTAB, "If-Match": stamp}
        assert (await served.ask("PUT", ONE, data=b"/a => /2", headers=headers)).status == 404
        await served.put("/a => /1")
        assert (await served.ask("PUT", ONE, data=b"/a => /2", headers=headers)).status == 412


# DELETE /dtabs/<ns>


async def test_delete_is_204_and_then_404() -> None:
    async with control() as served:
        assert (await served.ask("DELETE", ONE)).status == 404
        await served.put("/a => /b")
        assert (await served.ask("DELETE", ONE)).status == 204
        assert (await served.ask("DELETE", ONE)).status == 404


# Errors


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_what_the_store_refuses_is_403(method: str) -> None:
    async with control() as served:
        said = await served.ask(method, f"{ALL}/a.b", data=b"/a => /b", headers=DTAB)
        assert said.status == 403
        large = b"/a => /b ;#" + b"\n" * 300_000
        said = await served.ask(method, ONE, data=large, headers=DTAB)
        assert said.status == 403
        assert "too large" in said.error


async def test_what_the_store_refuses_inside_a_compare_and_set_is_500() -> None:
    async with control() as served:
        await served.put("/a => /1")
        stamp = (await served.get(ONE)).headers["etag"]
        headers = {**DTAB, "If-Match": stamp}
        said = await served.ask("PUT", ONE, data=b"/a => /b ;#" + b"\n" * 300_000, headers=headers)
        assert said.status == 500


async def test_a_store_that_can_not_be_asked_is_500() -> None:
    async with control() as served:
        await served.put("/a => /1")
        with closing(sqlite3.connect(served.folder / "state" / "control.sqlite", isolation_level=None)) as other:
            other.execute("begin immediate")
            assert (await served.ask("PUT", ONE, data=b"/a => /2", headers=DTAB)).status == 500
            assert (await served.get(ONE)).json == [{"prefix": "/a", "dst": "/1"}], "reading goes on"
            other.execute("rollback")


@pytest.mark.parametrize("path", [f"{ALL}xpialidocious", "/api/1", "/api/1/nothing", f"{ONE}/more"])
async def test_an_unknown_route_is_404(path: str) -> None:
    async with control() as served:
        assert (await served.get(path)).status == 404


async def test_a_limit_of_the_preview_does_not_hold_scripts_up() -> None:
    """There is nowhere to say yes."""
    async with control() as served:
        served.name("users", 1001)
        await served.put("/svc => /#/files")
        async with served.agent() as agent:
            await served.in_use(agent, "/svc/users")
            assert (await served.ask("PUT", ONE, data=b"/svc => /#/elsewhere", headers=DTAB)).status == 204


async def test_every_change_is_in_the_audit_log() -> None:
    async with control() as served:
        await served.ask("POST", ONE, data=b"/a => /1", headers=DTAB)
        await served.ask("POST", ONE, data=b"/a => /1", headers=DTAB)
        await served.ask("PUT", ONE, data=b"nonsense", headers=DTAB)
        await served.ask("PUT", ONE, data=b"/a => /2", headers={**DTAB, "If-Match": "yolo"})
        await served.ask("DELETE", ONE)
        records = (await served.get("/v1/audit")).json["records"]
        shown = [(each["what"].split()[0], each["result"], each["status"], each["version"]) for each in records]
        assert shown == [
            ("DELETE", "made", 204, 2),
            ("PUT", "conflicted", 412, None),
            ("PUT", "refused", 400, None),
            ("POST", "conflicted", 409, None),
            ("POST", "made", 204, 1),
        ]
