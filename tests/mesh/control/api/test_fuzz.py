"""Whatever is sent: an answer of the HTTP API that the document has, never a 500 of ours, never a hang."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import aiohttp
from hypothesis import strategies as st
from yarl import URL

from mesh.control.api.route import AnyRoute
from tests.control import Served, control, token
from tests.fuzzing import Rounds

INPUTS = 2_000
SECONDS = 20.0
"""For one answer; a name that no source answers for takes two."""

TABLES = [
    "/svc => /#/files",
    "/a => /b ; /b => /a",
    "/svc => ~ | ! & $",
    "",
    "/svc",
    "/ => /",
    "#",
    "/a => 1.5 * /b & /c",
]
PATHS = [
    "/svc/users",
    "/",
    "/#/files/users",
    "/$/inet/127.0.0.1/80",
    "/$/nil",
    "a",
    "//",
    "/\\x00",
    "/%/x/#/files/users",
]
WORDS = st.sampled_from([*TABLES, *PATHS, "1", "0", "-1", "true", "*", "users", "MQ==", '"MQ=="', "host7", "9" * 40])
TEXT = st.one_of(WORDS, st.text(max_size=30))
KEYS = st.sampled_from(
    [
        "dtab",
        "policies",
        "why",
        "yes",
        "to",
        "path",
        "name",
        "namespace",
        "watch_",
        "limit",
        "before",
        "version",
        "at",
        "x",
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, TEXT), inner, max_size=4)),
    max_leaves=8,
)
HEADERS = st.dictionaries(
    st.sampled_from(["If-Match", "If-None-Match", "Content-Type", "Accept", "Authorization", "Content-Encoding"]),
    st.one_of(
        st.sampled_from(
            ["application/json", "application/dtab", "text/plain", "*", '"MQ=="', "Bearer x", "gzip", "deflate"]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    ),
    max_size=2,
)
INPUT = st.fixed_dictionaries(
    {
        "route": st.integers(0, 10_000),
        "method": st.one_of(
            st.none(), st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS", "X"])
        ),
        "segment": st.one_of(st.just("default"), TEXT),
        "query": st.dictionaries(st.one_of(KEYS, TEXT), TEXT, max_size=3),
        "json": JSON,
        "raw": st.one_of(st.none(), st.binary(max_size=60), st.sampled_from(TABLES).map(str.encode)),
        "headers": HEADERS,
        "by": st.sampled_from(["writer", "writer", "writer", "reader", None]),
    }
)


async def send(served: Served, given: dict[str, Any]) -> None:
    routes: list[AnyRoute] = [each for each in served.control.routes if each.path != "/v1/agent"]
    route = routes[given["route"] % len(routes)]
    method = given["method"] or ("GET" if route.method == "*" else route.method)
    segment = quote(given["segment"].encode("utf-8", "surrogatepass"), safe="") or "x"
    path = re.sub(r"\{\w+\}", lambda _found: segment, route.path)
    query = "&".join(f"{quote_(key)}={quote_(value)}" for key, value in given["query"].items())
    body = given["raw"] if given["raw"] is not None else json.dumps(given["json"]).encode()
    headers = dict(given["headers"])
    if given["by"]:
        headers.setdefault("Authorization", f"Bearer {token(given['by'])}")
    url = URL(f"{path}?{query}" if query else path, encoded=True)
    request = served.session.request(method, url, data=body if method not in ("GET", "HEAD") else None, headers=headers)
    async with asyncio.timeout(SECONDS), request as response:
        said = await response.read()
    assert response.status < 500 or is_said(response, said), (method, url, headers, body, response.status, said)


def quote_(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def is_said(response: aiohttp.ClientResponse, said: bytes) -> bool:
    """Namerd's API answers 500 where a table can't be followed, 503 where a source is slow: with the reason, no bug."""
    return b"internal error" not in said and response.status in (500, 503) and response.url.path.startswith("/api/1/")


def fuzz_api(rounds: Rounds) -> int:
    """One server for all inputs: what one does to it the next would notice."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        served: Served = runner.run(stack.enter_async_context(control(preview={"limit": "100%"})))
        served.name("users", 1001)
        try:
            sent = rounds.of(INPUT, lambda given: runner.run(send(served, given)))
            health = runner.run(served.get("/v1/health"))
            assert health.status == 200
            print(f"{sent} inputs; {health.json}")
            return sent
        finally:
            runner.run(stack.aclose())


def test_whatever_is_sent_is_answered() -> None:
    assert fuzz_api(Rounds(INPUTS)) >= INPUTS
