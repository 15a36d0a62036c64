"""Every kind of identifier end to end: one agent, one Envoy, a router for each, and services that say what they got."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import pytest

from scripts.ports import free_port
from scripts.running import eventually
from tests.host import Answer, Host, running

COLD_NAMES = 10_000 if os.environ.get("SOAK") else 500
DTAB = """
/svc             => /#/files ;
/svc/users/v2    => /#/files/second ;
/svc/a/b         => /#/files/second ;
/svc/1.1/GET     => /#/files ;
/svc/1.1/POST    => /#/files/second ;
/svc/cold        => /#/files/users ;
/svc/cold/*      => /#/files/users ;
"""
IDENTIFIERS: dict[str, object] = {
    "host": {"kind": "host"},
    "header": {"kind": "header"},
    "token": {"kind": "header_token", "header": "X-Service"},
    "host_token": {"kind": "header_token"},
    "path": {"kind": "path"},
    "path_2": {"kind": "path", "segments": 2},
    "consume": {"kind": "path", "consume": True},
    "consume_2": {"kind": "path", "segments": 2, "consume": True},
    "method": {"kind": "method_and_host"},
    "static": {"kind": "static", "path": "/users"},
    "several": [{"kind": "header"}, {"kind": "path", "segments": 2, "consume": True}, {"kind": "host"}],
    "at_last": [{"kind": "header_token", "header": "x-service"}, {"kind": "static", "path": "/users"}],
    "methods": [{"kind": "header"}, {"kind": "method_and_host"}, {"kind": "path"}],
}


COPIES = {"path": 1, "path_2": 1, "consume": 1, "several": 3, "at_last": 2}


@dataclass(frozen=True, slots=True)
class Fleet:
    host: Host
    ports: dict[str, int]

    async def call(self, router: str, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        # Services send back what they got: the id that the proxy makes for a request without one differs each time.
        sent = {
            "host": "nobody",
            "x-request-id": "one",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://127.0.0.1:{self.ports[router]}{path}", headers=sent) as response,
        ):
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.text())

    async def asked(self) -> int:
        """How many requests the brain was asked about."""
        _, text = await self.host.agent.ask("/metrics")
        rows = [line for line in text.splitlines() if line.startswith("tieline_resolved_total{")]
        return sum(int(float(row.rpartition(" ")[2])) for row in rows)


class Saying(BaseHTTPRequestHandler):
    """Says who it is, and the request as it came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        who = getattr(self.server, "who", "")
        headers = sorted(f"{name.lower()}: {value}" for name, value in self.headers.items())
        body = "\n".join([f"{who} {self.command} {self.path}", *headers])
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def saying(who: str) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Saying)
    server.who = who  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    ports = {name: free_port() for name in IDENTIFIERS}
    routers = [{"name": name, "port": ports[name], "identifier": each} for name, each in IDENTIFIERS.items()]
    with saying("users") as users, saying("second") as second, running(DTAB, routers=routers) as started:
        started.put("users", users)
        started.put("second", second)
        asyncio.run(started.agent.until_ready())
        yield Fleet(started, ports)
        asyncio.run(started.no_nacks())


@pytest.mark.parametrize(
    ("router", "path", "method", "headers", "first"),
    [
        ("host", "/x?y=1", "GET", {"host": "Users:80"}, "users GET /x?y=1"),
        ("header", "/x", "GET", {"l5d_name": "/users"}, "users GET /x"),
        ("header", "/x", "GET", {"l5d_name": "/users/v2"}, "second GET /x"),
        ("token", "/x", "GET", {"x_service": "users"}, "users GET /x"),
        ("host_token", "/x", "GET", {"host": "users"}, "users GET /x"),
        ("path", "/users", "GET", {}, "users GET /users"),
        ("path", "/users/a/b?c=/d", "PUT", {}, "users PUT /users/a/b?c=/d"),
        ("path", "/users/?q", "GET", {}, "users GET /users/?q"),
        ("path", "//users//x", "GET", {}, "users GET /users/x"),
        ("path_2", "/a/b", "GET", {}, "second GET /a/b"),
        ("path_2", "/a/b/c?d", "GET", {}, "second GET /a/b/c?d"),
        ("consume", "/users", "GET", {}, "users GET /"),
        ("consume", "/users/", "GET", {}, "users GET /"),
        ("consume", "/users?x=1", "GET", {}, "users GET /?x=1"),
        ("consume", "/users/list/?x=/users", "GET", {}, "users GET /list/?x=/users"),
        ("consume_2", "/a/b?x=1", "GET", {}, "second GET /?x=1"),
        ("consume_2", "/a/b/a/b/", "GET", {}, "second GET /a/b/"),
        ("method", "/x", "GET", {"host": "users"}, "users GET /x"),
        ("method", "/x", "POST", {"host": "Users"}, "second POST /x"),
        ("static", "/any?thing", "DELETE", {"host": "x"}, "users DELETE /any?thing"),
        ("several", "/a/b/c", "GET", {"host": "users", "l5d_name": "/users"}, "users GET /a/b/c"),
        ("several", "/a/b/c", "GET", {"host": "users"}, "second GET /c"),
        ("several", "/a/b/c", "GET", {"host": "users", "l5d_name": "no path"}, "second GET /c"),
        ("several", "/a", "GET", {"host": "users"}, "users GET /a"),
        ("several", "/", "GET", {"host": "users:8080"}, "users GET /"),
        ("at_last", "/", "GET", {"x_service": "second"}, "second GET /"),
        ("at_last", "/", "GET", {}, "users GET /"),
    ],
)
async def test_a_request_is_identified_and_its_like_does_not_go_to_the_brain(
    fleet: Fleet, router: str, path: str, method: str, headers: dict[str, str], first: str
) -> None:
    answer = await fleet.call(router, path, method, **headers)
    assert (answer.status, answer.body.splitlines()[0]) == (200, first), answer
    asked = await fleet.asked()
    again = await fleet.call(router, path, method, **headers)
    assert again.body == answer.body
    assert await fleet.asked() == asked
    assert "x-tieline" not in answer.body


@pytest.mark.parametrize(
    ("router", "path", "headers", "first"),
    [
        ("path_2", "/a/b?x", {}, "second GET /a/b?x"),
        ("consume", "/users/x/?y", {}, "users GET /x/?y"),
        ("method", "/x", {}, "users GET /x"),
        ("static", "/x", {}, "users GET /x"),
        ("several", "/", {"l5d-name": "/users/v2"}, "second GET /"),
        ("several", "/", {}, "users GET /"),
    ],
)
async def test_requests_of_http_2_are_identified_alike(
    fleet: Fleet, router: str, path: str, headers: dict[str, str], first: str
) -> None:
    async with httpx.AsyncClient(http1=False, http2=True) as client:
        url = f"http://127.0.0.1:{fleet.ports[router]}{path}"
        answer = await client.get(url, headers={"host": "users", **headers})
    assert (answer.http_version, answer.text.splitlines()[0]) == ("HTTP/2", first)


async def test_first_requests_never_fail_for_a_name_that_exists(fleet: Fleet) -> None:
    """The copies are removed only when the route was looked for again: see `mesh.envoy.listeners`."""
    numbers, answers = iter(range(COLD_NAMES)), Counter[int]()

    async def call() -> None:
        for number in numbers:
            answers[(await fleet.call("path_2", f"/cold/{number}")).status] += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(call())
    assert answers == {200: COLD_NAMES}


@pytest.mark.parametrize(
    ("router", "path", "headers", "err", "wish"),
    [
        ("header", "/users", {}, "the request has no l5d-name header", "such as /users, as the l5d-name header."),
        ("header", "/", {"l5d_name": "users"}, "the l5d-name header is no path: ", "l5d-name header."),
        ("token", "/users", {}, "the request has no X-Service header", "as the X-Service header."),
        ("path", "/", {"host": "users"}, "the path of the request has fewer than 1 segments", "Begin the path"),
        ("path_2", "/users", {}, "the path of the request has fewer than 2 segments", "Begin the path"),
        ("path_2", "/users/?a/b", {}, "the path of the request has fewer than 2 segments", "Begin the path"),
        (
            "several",
            "/x",
            {"host": "a@b"},
            "the request has no l5d-name header; the path of the",
            " Or: Begin the path",
        ),
    ],
)
async def test_what_is_not_identified_is_400_and_says_why(
    fleet: Fleet, router: str, path: str, headers: dict[str, str], err: str, wish: str
) -> None:
    for _ in range(2):
        answer = await fleet.call(router, path, **headers)
        assert answer.status == 400
        assert answer.err.startswith(f"unidentified: {err}")
        assert wish in answer.body.splitlines()[-1]


@pytest.mark.parametrize("router", COPIES)
async def test_a_private_header_of_a_caller_is_not_believed_and_not_sent_on(fleet: Fleet, router: str) -> None:
    forged = {f"x-tieline-key-{number}": "/second/b" for number in range(COPIES[router])}
    for path in ("/users/v2", "/a/b"):
        honest = await fleet.call(router, path, host="users")
        answer = await fleet.call(router, path, host="users", **forged)
        assert (answer.status, answer.body) == (honest.status, honest.body)
        assert "x-tieline" not in answer.body


async def test_of_several_headers_of_one_name_the_first_counts(fleet: Fleet) -> None:
    for router in ("token", "at_last"):
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet.ports[router])
        both = "x-service: second\r\nx-service: users\r\n"
        writer.write(f"GET / HTTP/1.1\r\nhost: x\r\n{both}connection: close\r\n\r\n".encode())
        assert b"second GET /" in await reader.read(), router
        writer.close()


@pytest.mark.parametrize(
    ("router", "path", "headers"),
    [
        ("host", "/", "host: uSErs{}"),
        ("several", "/a/b/{}", "host: h{}"),
        ("several", "/", "host: users:{}"),
        ("methods", "/{}", "host: USERS"),
        ("header", "/", "host: h\r\nl5d-name: /users #{}"),
    ],
)
async def test_a_name_asked_for_in_many_ways_takes_few_places(
    fleet: Fleet, router: str, path: str, headers: str
) -> None:
    """The rest is served under the plain key, at a question each."""
    before = len(await fleet.host.names())
    for number in range(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet.ports[router])
        host = headers.format(number if router != "host" else "".join("." * (number % 2)))
        writer.write(f"GET {path.format(number)} HTTP/1.1\r\n{host}\r\nconnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200"), (number, host)
        writer.close()
    assert len(await fleet.host.names()) - before <= 10


async def test_explain_takes_a_path_and_a_name(fleet: Fleet) -> None:
    for router in IDENTIFIERS:
        for name in ("/svc/users", "users"):
            explained = await fleet.host.json(f"/explain?name={name}&router={router}")
            assert (explained["path"], explained["outcome"]) == ("/svc/users", "bound")


async def test_what_envoy_itself_refuses_says_what_was_asked_for(fleet: Fleet) -> None:
    fleet.host.put("dead", free_port())
    answer = await fleet.call("path", "/dead/x?y", host="edge")
    assert (answer.status, answer.err) == (503, "no endpoint of edge/dead/x could be reached")


async def test_a_missing_name_says_how_to_explain_it(fleet: Fleet) -> None:
    answer = await fleet.call("path_2", "/no/such")
    assert (answer.status, answer.err) == (404, "no such name: /svc/no/such")
    assert answer.body.endswith("Run: tieline explain /svc/no/such\n")


async def _is_another(host: Host, old: object) -> bool:
    try:
        brain = (await host.json("/status"))["brain"]
    except (aiohttp.ClientError, OSError):
        return False
    return isinstance(brain, dict) and isinstance(old, dict) and brain["pid"] != old["pid"]


async def test_names_in_use_outlive_the_brain(fleet: Fleet) -> None:
    """A new brain has nothing but keys: those on disk, and those of the running Envoy."""
    calls = [("several", "/a/b/c", "second GET /c"), ("consume", "/users/x", "users GET /x"), ("at_last", "/", "users")]
    for router, path, first in calls:
        assert (await fleet.call(router, path, host="users")).body.startswith(first)
    before = set(await fleet.host.names())
    old = (await fleet.host.json("/status"))["brain"]
    os.kill(fleet.host.agent.children()["brain"], signal.SIGKILL)
    await eventually(lambda: _is_another(fleet.host, old), 15, "no new brain")
    assert await fleet.asked() == 0
    for router, path, first in calls:
        assert (await fleet.call(router, path, host="users")).body.startswith(first)
    assert await fleet.asked() == 0
    assert {"\na\nb\nusers", "users"} <= set(await fleet.host.names()) <= before
    await fleet.host.no_nacks()
