"""Every route, for every kind of caller: who gets in. And what is refused before a route sees it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest

from mesh.control.api.reading import MOST_BODY
from mesh.control.grants import Role
from scripts.running import eventually
from tests.control import PATIENCE, SECRET, Served, control, token

WHO = (None, "reader", "writer", "host7", "socket")
MAY: dict[str | None, set[Role | None]] = {
    None: {None},
    "reader": {None, Role.READ},
    "writer": {None, Role.READ, Role.WRITE},
    "host7": {None, Role.AGENT},
    "socket": {None, Role.READ, Role.WRITE, Role.AGENT},
}
ROUTES: dict[tuple[str, str], Role | None] = {
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): Role.READ,
    ("GET", "/v1/health"): Role.READ,
    ("GET", "/v1/audit"): Role.READ,
    ("GET", "/v1/openapi.json"): Role.READ,
    ("GET", "/v1/sources"): Role.READ,
    ("GET", "/v1/agents"): Role.READ,
    ("GET", "/v1/agents/{agent}"): Role.READ,
    ("GET", "/v1/agent"): Role.AGENT,
    ("GET", "/v1/namespaces"): Role.READ,
    ("GET", "/v1/namespaces/{namespace}"): Role.READ,
    ("PUT", "/v1/namespaces/{namespace}"): Role.WRITE,
    ("DELETE", "/v1/namespaces/{namespace}"): Role.WRITE,
    ("GET", "/v1/namespaces/{namespace}/history"): Role.READ,
    ("GET", "/v1/namespaces/{namespace}/names"): Role.READ,
    ("GET", "/v1/namespaces/{namespace}/uses"): Role.READ,
    ("GET", "/v1/namespaces/{namespace}/explain"): Role.READ,
    ("POST", "/v1/namespaces/{namespace}/rollback"): Role.WRITE,
    ("POST", "/v1/namespaces/{namespace}/preview"): Role.READ,
    ("POST", "/v1/namespaces/{namespace}/lint"): Role.READ,
    ("*", "/api/1/dtabs"): Role.READ,
    ("*", "/api/1/dtabs/"): Role.READ,
    ("GET", "/api/1/dtabs/{namespace}"): Role.READ,
    ("HEAD", "/api/1/dtabs/{namespace}"): Role.READ,
    ("POST", "/api/1/dtabs/{namespace}"): Role.WRITE,
    ("PUT", "/api/1/dtabs/{namespace}"): Role.WRITE,
    ("DELETE", "/api/1/dtabs/{namespace}"): Role.WRITE,
    ("GET", "/api/1/bind/{namespace}"): Role.READ,
    ("GET", "/api/1/addr/{namespace}"): Role.READ,
    ("GET", "/api/1/resolve/{namespace}"): Role.READ,
    ("GET", "/api/1/delegate/{namespace}"): Role.READ,
    ("GET", "/api/1/delegate"): Role.READ,
    ("POST", "/api/1/delegate"): Role.READ,
    ("GET", "/api/1/bound-names"): Role.READ,
}
"""What is to be so: a route that is added without a decision fails here."""


def url(path: str) -> str:
    return re.sub(r"\{\w+\}", "default", path)


@pytest.fixture
async def strict() -> AsyncIterator[Served]:
    async with control(allow="none") as served:
        yield served


async def test_every_route_has_the_role_that_was_decided(strict: Served) -> None:
    assert {(each.method, each.path): each.role for each in strict.control.routes} == ROUTES


async def test_every_route_lets_in_whom_it_should_and_nobody_else(strict: Served) -> None:
    for (method, path), role in ROUTES.items():
        for who in WHO:
            said = await strict.ask("GET" if method == "*" else method, url(path), by=who)
            if role in MAY[who]:
                assert said.status not in (401, 403), (method, path, who, said.body)
            else:
                assert said.status == (401 if who is None else 403), (method, path, who, said.body)
                if method != "HEAD":
                    assert f"the role {role}" in said.error


async def test_on_loopback_who_has_no_token_may_read_and_never_write() -> None:
    async with control() as served:
        assert (await served.get("/v1/namespaces", by=None)).status == 200
        for (method, path), role in ROUTES.items():
            if role in (Role.WRITE, Role.AGENT):
                said = await served.ask(method, url(path), by=None, json={})
                assert said.status == 401, (method, path)
                assert said.headers["www-authenticate"] == "Bearer"
        assert (await served.get("/v1/namespaces")).json == {"namespaces": []}


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", "Bearer ", "Bearer", "Basic d3JpdGVyOng=", "", "bearer \xff", f"Token {token('writer')}"],
)
async def test_a_token_that_is_not_known_is_401_even_where_none_is_needed(header: str) -> None:
    async with control() as served:
        said = await served.get("/v1/namespaces", headers={"Authorization": header})
        assert said.status == 401
        assert SECRET not in said.body.decode()


async def test_the_scheme_is_written_in_any_case(strict: Served) -> None:
    said = await strict.get("/v1/namespaces", headers={"Authorization": f"bEARER {token('reader')}"})
    assert said.status == 200


async def test_the_socket_tells_who_opened_it(strict: Served) -> None:
    await strict.put("/a => /b", by="socket")
    [record] = (await strict.get("/v1/audit")).json["records"]
    assert (record["via"], record["address"]) == ("socket", "unix")
    assert record["who"] not in ("", "nobody", None)


async def test_only_the_owner_can_open_the_socket(strict: Served) -> None:
    assert (strict.folder / "run" / "control.sock").stat().st_mode & 0o777 == 0o600


NAMESPACES = "/v1/namespaces"
MALFORMED: list[Any] = [
    pytest.param("PUT", "/default", b"{", "this is not JSON", id="half an object"),
    pytest.param("PUT", "/default", b"[]", "a section of keys expected", id="list"),
    pytest.param("PUT", "/default", b"\xff\xfe", "this is not JSON", id="bytes"),
    pytest.param("PUT", "/default", b'"' + b"[" * 50_000, "this is not JSON", id="no end"),
    pytest.param("PUT", "/default", b"[" * 50_000, "this is not JSON", id="deep"),
    pytest.param("PUT", "/default", b'{"dtab": "\\ud800"}', "this is not JSON", id="half a character"),
    pytest.param("PUT", "/default", b'{"dtab": 3}', "`dtab`: text expected, not 3", id="number"),
    pytest.param("PUT", "/default", b'{"dtob": "x"}', "`dtob`: unknown key. Did you mean 'dtab'?", id="typing error"),
    pytest.param("PUT", "/default", b'{"dtab":"/a=>/b","yes":"perhaps"}', "`yes`: true or false expected", id="flag"),
    pytest.param("PUT", "/default", b"{}", "nothing to change", id="nothing"),
    pytest.param("PUT", "/default", b"", "nothing to change", id="no body"),
    pytest.param("PUT", "/a.b", b"{}", "letters, digits", id="namespace"),
    pytest.param("PUT", "/%00", b"{}", "letters, digits", id="zero byte"),
    pytest.param("PUT", f"/{'x' * 101}", b"{}", "letters, digits", id="long namespace"),
    pytest.param("POST", "/default/rollback", b"{}", "`to`: the key is missing", id="missing key"),
    pytest.param("POST", "/default/rollback", b'{"to":0}', "at least 1", id="too small"),
    pytest.param("GET", "/default?version=x", b"", "`version`: a whole number expected", id="query"),
    pytest.param("GET", "/default/history?limti=3", b"", "`limti`: unknown key. Did you mean 'limit'?", id="query key"),
    pytest.param("GET", "/default/history?limit=1000", b"", "at most 200", id="query too large"),
    pytest.param("GET", "/default/explain", b"", "`name`: the key is missing", id="no name"),
    pytest.param("GET", "/default/explain?name=/a&at=noon", b"", "a time expected", id="time"),
    pytest.param("GET", "/default/explain?name=/a&dtab=%2Fx", b"", "'=>' expected", id="table"),
]


@pytest.mark.parametrize(("method", "path", "body", "said"), MALFORMED)
async def test_what_can_not_be_understood_is_400_and_says_why(method: str, path: str, body: bytes, said: str) -> None:
    async with control() as served:
        answer = await served.ask(method, NAMESPACES + path, data=body or None)
        assert answer.status == 400, answer.body
        assert said in answer.error


async def test_a_body_that_is_too_large_is_413() -> None:
    async with control() as served:
        said = await served.ask("PUT", "/v1/namespaces/default", data=io.BytesIO(b"x" * (MOST_BODY + 1)))
        assert (said.status, said.error) == (413, f"a body may have {MOST_BODY} bytes")
        both = {"policies": "#" * 300_000, "dtab": "#" * 300_000}
        said = await served.ask("PUT", "/v1/namespaces/default", json=both)
        assert said.status == 413


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v2/namespaces", "/v1/namespaces/", "/api/1/dtabsexpialia"])
async def test_an_unknown_page_is_404_in_json(path: str) -> None:
    async with control() as served:
        said = await served.get(path)
        assert said.status == 404
        assert path in said.error
        assert said.headers["content-type"] == "application/json"


async def test_another_method_is_405_and_says_which_there_are() -> None:
    async with control() as served:
        said = await served.ask("PATCH", "/v1/namespaces/default")
        assert (said.status, said.headers["allow"]) == (405, "DELETE,GET,HEAD,PUT")
        assert "is not for PATCH" in said.error


async def test_a_body_that_ends_too_soon_harms_nobody() -> None:
    async with control() as served:
        port = served.control.listens.result()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"PUT /v1/namespaces/default HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token('writer')}\r\n"
        writer.write(f"{head}content-length: 100\r\n\r\n{{".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert reader.at_eof() or await reader.read() == b""
        assert (await served.get("/healthz")).status == 200
        assert (await served.get("/v1/namespaces")).json == {"namespaces": []}


async def test_a_change_whose_caller_leaves_is_made_and_recorded() -> None:
    async with control() as served:
        made = asyncio.Event()
        served.control.tables.subscribe(lambda _version: made.set())
        with closing(sqlite3.connect(served.folder / "state" / "control.sqlite", isolation_level=None)) as other:
            other.execute("begin immediate")
            _, writer = await asyncio.open_connection("127.0.0.1", served.control.listens.result())
            body = json.dumps({"dtab": "/a => /b"})
            head = f"PUT /v1/namespaces/default HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token('writer')}\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            await eventually(lambda: written(served, "begun"), PATIENCE, "the change has not begun")
            writer.transport.abort()
            assert (await served.get("/v1/audit")).json["records"][0]["result"] == "begun"
            other.execute("rollback")
        await asyncio.wait_for(made.wait(), PATIENCE)
        await eventually(lambda: written(served, "made"), PATIENCE, "the change has no record")
        assert (await served.get("/v1/namespaces/default")).json["dtab"] == "/a => /b"


def written(served: Served, result: str) -> bool:
    file = served.folder / "state" / "audit.log"
    return file.exists() and f'"result": "{result}"' in file.read_text()


async def test_a_request_that_is_no_http_leaves_no_token_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with control() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.control.listens.result())
        writer.write(f"GET / HTTP/1.1\r\nauthorization: Bearer {token('writer')}\0\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()
        await writer.wait_closed()
        assert (await served.get("/healthz")).status == 200
    assert SECRET not in caplog.text


async def test_no_token_is_in_any_answer_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with control(allow="none") as served:
        answers = [
            await served.ask("GET" if route.method == "*" else route.method, url(route.path), by=who, json={})
            for route in served.control.routes
            for who in WHO
        ]
        files = [file.read_bytes() for file in (served.folder / "state").iterdir()]
    assert not [said.body for said in answers if SECRET.encode() in said.body]
    assert not [content for content in files if SECRET.encode() in content]
    assert SECRET not in caplog.text
