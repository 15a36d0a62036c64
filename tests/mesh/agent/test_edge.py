"""What callers that nobody vouches for can do at a router, tried with raw sockets against a real agent and Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc.aio
import pytest

from scripts.ports import free_port
from scripts.running import eventually
from tests.host import PATIENCE, Host, host, running
from tests.upstream import Upstream, upstream

CLOSE = "connection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Routers:
    """One host's routers, by their ports."""

    host: Host
    trusted: int
    edge: int
    hops: int
    limited: int


@pytest.fixture(scope="module")
def shared() -> Iterator[Routers]:
    ports = [free_port() for _ in range(4)]
    names = ("http", "edge", "hops", "limited")
    limits = {
        "header_bytes": "2KiB",
        "headers": 20,
        "body_bytes": 1000,
        "header_timeout": "300ms",
        "request_timeout": "600ms",
        "idle": "300ms",
    }
    extra = [
        {},
        {"trusted": False},
        {"trusted": False, "xff_num_trusted_hops": 1, "escaped_slashes": "keep", "headers_with_underscores": "keep"},
        {"trusted": False, "escaped_slashes": "unescape", "headers_with_underscores": "reject", "limits": limits},
    ]
    routers = [{"name": n, "port": p, **more} for n, p, more in zip(names, ports, extra, strict=True)]
    with running(routers=routers) as started:
        asyncio.run(started.agent.until_ready())
        yield Routers(started, *ports)
        asyncio.run(started.no_nacks())


@pytest.fixture
async def users(shared: Routers) -> AsyncIterator[Upstream]:
    """The one service, bound at every router."""
    async with upstream("users") as service:
        shared.host.put("users", service.port)
        for port in (shared.trusted, shared.edge, shared.hops, shared.limited):
            answer = b""
            while b"users" not in answer:  # the last test's instance may be known for a moment
                answer = await raw(port, "GET / HTTP/1.1\r\nhost: users\r\n" + CLOSE)
        service.asked.clear()
        service.heard.clear()
        yield service


async def raw(port: int, *pieces: str | bytes) -> bytes:
    """What comes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece.encode() if isinstance(piece, str) else piece)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
    answer = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while piece := await reader.read(65536):
                answer += piece
    except ConnectionError:
        pass
    except TimeoutError:
        pytest.fail(f"the connection stays open after {answer!r}")
    finally:
        writer.close()
    return answer


def own_address() -> str:
    """The first that is not loopback, as Envoy finds it."""
    shown = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    return shown[0]


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


FORGED = {
    "l5d-dtab": "/svc => /#/files/other",
    "L5D-Ctx-Sample": "1",
    "x-tieline-key-0": "other",
    "x-envoy-max-retries": "9",
    "X-Envoy-Original-Path": "/admin",
    "x-forwarded-client-cert": "By=spiffe://x;URI=spiffe://admin",
    "x-forwarded-for": "192.0.2.1",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "bank.example.com",
    "forwarded": "for=192.0.2.1",
    "x-real-ip": "192.0.2.1",
    "x_user": "admin",
}
OF_HEADERS = "".join(f"{name}: {value}\r\n" for name, value in FORGED.items())


async def test_a_stranger_says_nothing_to_the_mesh_nor_for_a_proxy(shared: Routers, users: Upstream) -> None:
    assert status(await raw(shared.edge, f"GET / HTTP/1.1\r\nhost: users\r\nx-own: kept\r\n{OF_HEADERS}{CLOSE}")) == 200
    came = {name: users.last_headers.get(name.lower()) for name in (*FORGED, "x-own")}
    # Of a caller on loopback Envoy says this host's own address.
    said = {"x-own": "kept", "x-forwarded-for": own_address(), "x-forwarded-proto": "http"}
    assert came == {**dict.fromkeys(FORGED), **said}


async def test_a_caller_that_is_trusted_is_heard(shared: Routers, users: Upstream) -> None:
    assert status(await raw(shared.trusted, f"GET / HTTP/1.1\r\nhost: users\r\n{OF_HEADERS}{CLOSE}")) == 200
    kept = ("l5d-ctx-sample", "x-forwarded-for", "x-forwarded-host", "x_user")
    forged = {name.lower(): value for name, value in FORGED.items()}
    assert {name: users.last_headers.get(name) for name in kept} == {name: forged[name] for name in kept}
    assert "x-envoy-max-retries" not in users.last_headers
    assert "x-forwarded-client-cert" not in users.last_headers


async def test_a_proxy_in_front_is_believed_as_far_as_said(shared: Routers, users: Upstream) -> None:
    forged = "x-forwarded-for: 203.0.113.9, 192.0.2.1\r\nx-forwarded-proto: https\r\nx_user: me\r\n"
    assert (
        status(await raw(shared.hops, f"GET /a%2fb HTTP/1.1\r\nhost: users\r\nl5d-dtab: /a=>/b\r\n{forged}{CLOSE}"))
        == 200
    )
    assert users.last_headers["x-forwarded-for"] == f"203.0.113.9, 192.0.2.1,{own_address()}"
    assert users.last_headers["x-forwarded-proto"] == "https"
    assert users.last_headers["x_user"] == "me"
    assert "l5d-dtab" not in users.last_headers
    assert users.path == "/a%2fb"


async def test_a_stranger_is_not_told_of_the_inside(shared: Routers, users: Upstream) -> None:
    for name in ("nobody", "users/", "a b"):
        answer = await raw(shared.edge, f"GET / HTTP/1.1\r\nhost: {name}\r\n{CLOSE}")
        assert status(answer) in (400, 404)
        assert b"l5d-" not in answer.lower()
        assert b"svc" not in answer
        assert answer.endswith(b"error %d\n" % status(answer))
    told = await raw(shared.trusted, f"GET / HTTP/1.1\r\nhost: nobody\r\n{CLOSE}")
    assert b"l5d-err: no such name: /svc/nobody" in told


PATHS = [
    ("/a/../../b//c", 200, "/b/c"),
    ("/a/%2e%2e/%2E%2e/b", 200, "/b"),
    ("/a%2fb", 400, None),
    ("/a%5Cb", 400, None),
    ("/a\\..\\b", 200, "/b"),
    ("/a#b", 400, None),
    ("/%00", 400, None),
]


@pytest.mark.parametrize(("path", "code", "arrives"), PATHS)
async def test_a_path_is_what_it_seems(
    shared: Routers, users: Upstream, path: str, code: int, arrives: str | None
) -> None:
    answer = await raw(shared.edge, f"GET {path} HTTP/1.1\r\nhost: users\r\n{CLOSE}")
    assert status(answer) == code, answer
    assert sum(users.asked.values()) == (arrives is not None)
    assert arrives is None or users.path == arrives


async def test_a_trusted_callers_path_goes_on_as_it_was_written(shared: Routers, users: Upstream) -> None:
    assert status(await raw(shared.trusted, f"GET /a/../b//c HTTP/1.1\r\nhost: users\r\n{CLOSE}")) == 200
    assert users.path == "/a/../b//c"


async def test_a_request_has_an_id_and_a_strangers_is_not_taken(shared: Routers, users: Upstream) -> None:
    for port, said, kept in (
        (shared.trusted, "mine", True),
        (shared.hops, "mine", True),
        (shared.edge, "mine", False),
        (shared.trusted, "", False),
    ):
        header = f"x-request-id: {said}\r\n" if said else ""
        await raw(port, f"GET / HTTP/1.1\r\nhost: users\r\n{header}{CLOSE}")
        sent = users.last_headers["x-request-id"]
        assert kept == (sent == "mine")
        assert kept or uuid.UUID(sent).version == 4


async def test_callers_who_have_vanished_are_noticed(shared: Routers) -> None:
    """The kernel's timer of an accepted connection: 2 is keepalive (proc_net_tcp)."""
    for port in (shared.trusted, shared.edge):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        there = f"0100007F:{port:04X}", f"0100007F:{writer.get_extra_info('sockname')[1]:04X}"

        def timers(there: tuple[str, str] = there) -> list[str]:
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
            return [row[5][:2] for row in rows if (row[1], row[2]) == there]

        await eventually(lambda: timers() == ["02"], PATIENCE, f"no keepalive on {there}")
        writer.close()


async def test_escaped_slashes_are_unescaped_where_that_is_said(shared: Routers, users: Upstream) -> None:
    assert status(await raw(shared.limited, f"GET /a%2f..%2fb HTTP/1.1\r\nhost: users\r\n{CLOSE}")) == 200
    assert users.path == "/b"
    assert status(await raw(shared.trusted, f"GET /a%2Fb HTTP/1.1\r\nhost: users\r\n{CLOSE}")) == 200
    assert users.path == "/a%2Fb"


BODY = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: users\r\n\r\n"
HEAD = "POST / HTTP/1.1\r\nhost: users\r\n"
SMUGGLED = {
    "length and chunked": f"{HEAD}content-length: {len(BODY)}\r\ntransfer-encoding: chunked\r\n\r\n{BODY}",
    "two lengths": f"{HEAD}content-length: 5\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}",
    "a list of lengths": f"{HEAD}content-length: 5, {len(BODY)}\r\n\r\n{BODY}",
    "a signed length": f"{HEAD}content-length: +5\r\n\r\n{BODY}",
    "odd chunked": f"{HEAD}transfer-encoding: xchunked\r\n\r\n{BODY}",
    "chunked twice": f"{HEAD}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n{BODY}",
    "blank before the colon": f"{HEAD}transfer-encoding : chunked\r\n\r\n{BODY}",
    "bare line feed in a header": f"{HEAD}x: a\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n{BODY}",
    "two hosts": f"GET / HTTP/1.1\r\nhost: users\r\nhost: other\r\n{CLOSE}",
    "no host": f"GET / HTTP/1.1\r\n{CLOSE}",
    "nul in a header": f"GET / HTTP/1.1\r\nhost: users\r\nx: a\0b\r\n{CLOSE}",
}


@pytest.mark.parametrize("said", SMUGGLED.values(), ids=SMUGGLED)
@pytest.mark.parametrize("which", ["trusted", "edge"])
async def test_no_request_is_read_in_two_ways(shared: Routers, users: Upstream, which: str, said: str) -> None:
    answer = await raw(getattr(shared, which), said)
    assert users.path != "/smuggled"
    assert (sum(users.asked.values()), status(answer)) in ((0, 400), (0, 501)), answer


@pytest.mark.parametrize("which", ["trusted", "edge"])
async def test_what_envoy_reads_is_written_anew(shared: Routers, users: Upstream, which: str) -> None:
    port = getattr(shared, which)
    assert status(await raw(port, f"GET / HTTP/1.1\r\nhost: users\r\nx: a\rb: c\r\ny: d\r\n e\r\n{CLOSE}")) == 200
    assert (users.last_headers["x"], users.last_headers["y"]) == ("ab: c", "d e")
    assert "b" not in users.last_headers
    # The head may be there already; what comes behind it is no request.
    assert status(await raw(port, f"{HEAD}transfer-encoding: chunked\r\n\r\n-1\r\n{BODY}")) == 400
    assert users.path == "/"


async def test_headers_beyond_the_limits_are_refused(shared: Routers, users: Upstream) -> None:
    for many, code in ((10, 200), (30, 431)):
        more = "".join(f"x-{number}: 1\r\n" for number in range(many))
        assert status(await raw(shared.limited, f"GET / HTTP/1.1\r\nhost: users\r\n{more}{CLOSE}")) == code
    for length, code in ((1000, 200), (4000, 431)):
        assert (
            status(await raw(shared.limited, f"GET / HTTP/1.1\r\nhost: users\r\nx: {'a' * length}\r\n{CLOSE}")) == code
        )
    assert status(await raw(shared.limited, f"GET / HTTP/1.1\r\nhost: users\r\nx_y: 1\r\n{CLOSE}")) == 400
    assert sum(users.asked.values()) == 2


async def test_bodies_beyond_the_limit_are_refused_whether_or_not_they_say_so(shared: Routers, users: Upstream) -> None:
    body = "a" * 2000
    assert status(await raw(shared.limited, f"{HEAD}content-length: 2000\r\n{CLOSE}{body}")) == 413
    assert (
        status(await raw(shared.limited, f"{HEAD}transfer-encoding: chunked\r\n{CLOSE}7d0\r\n{body}\r\n0\r\n\r\n"))
        == 413
    )
    assert sum(users.asked.values()) == 0
    assert status(await raw(shared.limited, f"{HEAD}content-length: 500\r\n{CLOSE}{body[:500]}")) == 200


async def test_a_websocket_passes_a_limit_of_bodies(shared: Routers) -> None:
    async def echo(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = aiohttp.web.Application()
    app.router.add_get("/", echo)
    runner = aiohttp.web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    shared.host.put("talk", runner.addresses[0][1])
    url = f"http://127.0.0.1:{shared.limited}/"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers={"host": "talk"}) as socket:
        await socket.send_str("a" * 5000)
        assert await socket.receive_str() == "a" * 5000
    await runner.cleanup()


async def test_who_sends_slowly_is_cut_off(shared: Routers, users: Upstream) -> None:
    assert status(await raw(shared.limited, "GET / HTTP/1.1\r\nhost: us")) == 408
    assert status(await raw(shared.limited, f"{HEAD}content-length: 100\r\n\r\nabc")) == 408
    # Nothing at all, and nothing after an answer: closed without a word.
    assert await raw(shared.limited) == b""
    assert (await raw(shared.limited, "GET / HTTP/1.1\r\nhost: users\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert sum(users.asked.values()) == 1


async def test_no_more_connect_than_may() -> None:
    port = free_port()
    routers = [{"name": "few", "port": port, "limits": {"connections": 2}}]
    async with host(routers=routers) as started, upstream("users") as users:
        started.put("users", users.port)
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in opened:
            writer.write(b"GET / HTTP/1.1\r\nhost: users\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert await raw(port, "GET / HTTP/1.1\r\nhost: users\r\n\r\n") == b""
        for _, writer in opened:
            writer.close()
        await started.no_nacks()


async def test_an_address_that_others_reach_is_not_trusted_unless_said() -> None:
    ports = free_port(), free_port()
    routers = [
        {"name": "open", "port": ports[0], "address": "0.0.0.0"},
        {"name": "said", "port": ports[1], "address": "0.0.0.0", "trusted": True},
    ]
    async with host(routers=routers) as started, upstream("users") as users:
        started.put("users", users.port)
        for port, heard in zip(ports, (None, "/a=>/b"), strict=True):
            assert status(await raw(port, f"GET / HTTP/1.1\r\nhost: users\r\nl5d-ctx-dtab: /a=>/b\r\n{CLOSE}")) == 200
            assert users.last_headers.get("l5d-ctx-dtab") == heard
        await started.no_nacks()


async def test_a_table_is_taken_from_strangers_where_that_is_said() -> None:
    port = free_port()
    routers = [{"name": "edge", "port": port, "trusted": False, "overrides": "on", "show_destination": "on_request"}]
    async with host(routers=routers) as started, upstream("users") as users, upstream("other") as other:
        started.put("users", users.port)
        started.put("other", other.port)
        for table, name in (("", b"users"), ("l5d-dtab: /svc/users => /#/files/other\r\n", b"other")):
            said = (
                "GET / HTTP/1.1\r\nhost: users\r\nl5d-dst-show: 1\r\nl5d-ctx-deadline: 1 2\r\nx-tieline-kept-0: 1\r\n"
            )
            answer = await raw(port, f"{said}{table}{CLOSE}")
            assert answer.endswith(name), answer
            assert b"l5d-dst-client: /#/files/" + name in answer
        assert not [name for name in other.last_headers if name.startswith(("x-tieline", "l5d-ctx-deadline"))]
        await started.no_nacks()


async def test_grpc_callers_that_are_strangers_are_told_a_status(shared: Routers) -> None:
    options = [("grpc.default_authority", "nobody")]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{shared.edge}", options=options) as channel:
        call = channel.unary_unary("/t.Echo/Say")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "svc" not in str(refused.value.details())
