"""The HTTP router end to end: one agent, one Envoy, and services that each test starts for itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import grpc.aio
import httpx
import pytest
from aiohttp import web

from scripts.running import eventually, service
from tests.host import Host, running

DTAB = """
/svc            => /#/files ;
/svc/split      => 3 * /#/files/left & 1 * /#/files/right ;
/svc/fallback   => /#/files/first | /#/files/second ;
/svc/refused    => ! ;
/svc/nothing    => $ ;
/svc/literal    => /$/inet/127.0.0.1/1 ;
/svc/loop       => /svc/pool ;
/svc/pool       => /svc/loop
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(DTAB) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """Answers with the request's head, and speaks WebSocket on /ws."""

    async def answer(request: web.Request) -> web.Response:
        lines = [f"{request.method} {request.path_qs}", *(f"{k.lower()}: {v}" for k, v in request.headers.items())]
        return web.Response(text="\n".join(lines))

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"heard {message.data}")
        return socket

    app = web.Application()
    app.router.add_get("/ws", talk)
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_name_becomes_a_request_at_its_endpoint(shared: Host) -> None:
    async with service("users here") as port:
        shared.put("users", port)
        answer = await shared.call("users")
        assert (answer.status, answer.body) == (200, "users here")


async def test_the_port_and_the_letter_case_of_the_host_do_not_matter(shared: Host) -> None:
    async with service("mixed") as port:
        shared.put("mixed", port)
        for host in ("mixed", "mixed:4140", "MiXeD", "MIXED:1", "mixed."):
            assert (await shared.call(host)).body == "mixed", host


async def test_an_unknown_name_is_404_and_says_why(shared: Host) -> None:
    answer = await shared.call("nowhere")
    assert answer.status == 404
    assert answer.err == "no such name: /svc/nowhere"
    assert "/svc/nowhere -> /#/files/nowhere: no such name" in answer.body
    assert answer.body.endswith("Run: tieline explain nowhere\n")


async def test_a_name_that_appears_is_served_although_it_was_refused_before(shared: Host) -> None:
    assert (await shared.call("late")).status == 404
    async with service("late") as port:
        shared.put("late", port)
        await shared.until("late", "late")


async def test_a_name_without_endpoints_is_503_and_says_so(shared: Host) -> None:
    shared.put("hollow")
    answer = await shared.call("hollow")
    assert answer.status == 503
    assert answer.err == "no endpoints for /svc/hollow"
    assert "it exists, with no endpoint" in answer.body


async def test_a_name_that_gets_endpoints_again_is_served(shared: Host) -> None:
    shared.put("refilled")
    assert (await shared.call("refilled")).status == 503
    async with service("refilled") as port:
        shared.put("refilled", port)
        await shared.until("refilled", "refilled")


@pytest.mark.parametrize(
    ("name", "status", "err"),
    [
        pytest.param("refused", 503, "refused by the table (!): /svc/refused", id="fail"),
        pytest.param("nothing", 503, "nothing behind the name ($): /svc/nothing", id="empty"),
        pytest.param("loop", 503, "can't bind /svc/loop: more than 100 lookups", id="cyclic table"),
    ],
)
async def test_what_the_table_refuses_says_so(shared: Host, name: str, status: int, err: str) -> None:
    answer = await shared.call(name)
    assert answer.status == status
    assert answer.err.startswith(err)


@pytest.mark.parametrize("host", ["{}", "a b", "[::1]:80", "a/b", "%zz", "ü"])
async def test_a_host_that_is_no_name_is_400(shared: Host, host: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.agent.port)
    writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
    head = (await reader.read()).decode()
    writer.close()
    assert head.startswith("HTTP/1.1 400"), head
    assert "l5d-err: " in head


async def test_a_request_without_host_is_400_and_says_so(shared: Host) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.agent.port)
    writer.write(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
    head = (await reader.read()).decode()
    writer.close()
    assert head.startswith("HTTP/1.1 400"), head
    assert "l5d-err: " in head


async def test_a_union_splits_by_weight(shared: Host) -> None:
    async with service("left") as left, service("right") as right:
        shared.put("left", left)
        shared.put("right", right)
        await shared.until("split", "right")
        seen = Counter([(await shared.call("split")).body for _ in range(200)])
    # 3 to 1 of 200: 50 expected, the standard deviation is 6.
    assert set(seen) == {"left", "right"}
    assert 20 <= seen["right"] <= 80


async def test_an_alternate_serves_while_the_first_is_missing_or_empty(shared: Host) -> None:
    async with service("first") as first, service("second") as second:
        shared.put("second", second)
        assert (await shared.call("fallback")).body == "second"
        shared.put("first", first)
        await shared.until("fallback", "first")
        shared.put("first")
        await shared.until("fallback", "second")
        shared.put("first", first)
        await shared.until("fallback", "first")
        shared.remove("first")
        await shared.until("fallback", "second")


async def test_an_endpoint_nobody_listens_on_is_503_with_the_reason(shared: Host) -> None:
    answer = await shared.call("literal")
    assert answer.status == 503
    assert answer.err == "no endpoint of literal could be reached"


async def test_a_post_that_was_received_is_never_sent_twice(shared: Host) -> None:
    received = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        received += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    shared.put("rude", port)
    answer = await shared.call("rude", method="POST")
    server.close()
    assert answer.status == 503
    assert received == 1


async def test_a_dead_endpoint_beside_a_live_one_fails_no_request(shared: Host) -> None:
    async with service("alive") as port:
        shared.put("half", lines=f"127.0.0.1 1\n127.0.0.1 {port}\n")
        answers = [(await shared.call("half")).status for _ in range(50)]
    assert answers == [200] * 50


async def test_headers_that_steer_the_proxy_are_not_taken_from_callers(shared: Host) -> None:
    async with echo() as port:
        shared.put("echo", port)
        steering = {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-max-retries": "9"}
        answer = await shared.call("echo", "/a//c?q=1", **steering)
    assert answer.status == 200
    assert answer.body.startswith("GET /a//c?q=1")
    assert not [header for header in steering if header in answer.body]


async def test_http_2_without_tls_reaches_a_service_through_the_same_listener(shared: Host) -> None:
    async with httpx.AsyncClient(http1=False, http2=True) as client:
        answer = await client.get(shared.agent.url, headers={"host": "nowhere"})
    assert answer.http_version == "HTTP/2"
    assert answer.status_code == 404
    assert answer.headers["l5d-err"] == "no such name: /svc/nowhere"


async def test_grpc_calls_and_their_refusals_pass_through_the_same_listener(shared: Host) -> None:
    async def say(request: bytes, _context: object) -> bytes:
        return b"heard " + request

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(say, request_deserializer=bytes, response_serializer=bytes)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", {"Say": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    shared.put("speaker", port)
    try:
        assert await _say(shared, "speaker") == b"heard hello"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _say(shared, "no-speaker")
    finally:
        await server.stop(None)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "no such name: /svc/no-speaker" in str(refused.value.details())


async def _say(host: Host, name: str) -> bytes:
    options = [("grpc.default_authority", name)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{host.agent.port}", options=options) as channel:
        call = channel.unary_unary("/t.Echo/Say", request_serializer=bytes, response_deserializer=bytes)
        answer: bytes = await call(b"hello", timeout=10)
        return answer


async def test_a_websocket_is_carried(shared: Host) -> None:
    async with echo() as port:
        shared.put("talk", port)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{shared.agent.url}/ws", headers={"host": "talk"}) as socket,
        ):
            await socket.send_str("me")
            assert await socket.receive_str() == "heard me"


async def test_many_callers_of_one_cold_name_cause_one_binding(shared: Host) -> None:
    async with service("popular") as port:
        shared.put("popular", port)
        before = await _asked(shared)
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(shared.call("popular")) for _ in range(100)]
        assert {call.result().status for call in calls} == {200}
    assert await _asked(shared) - before == 1


async def _asked(host: Host) -> float:
    _, text = await host.agent.ask("/metrics")
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("tieline_names_asked_total"))


async def test_explain_shows_the_way_the_endpoints_and_the_proxy_that_has_it(shared: Host) -> None:
    async with service("explained") as port:
        shared.put("explained", port)
        await shared.call("explained")
        answer = await shared.json("/explain?name=explained")
        assert answer["outcome"] == "bound"
        assert answer["path"] == "/svc/explained"
        endpoints = answer["endpoints"]
        assert isinstance(endpoints, dict)
        assert endpoints["/#/files/explained"]["endpoints"][0]["port"] == port
        proxies = answer["proxies"]
        assert isinstance(proxies, list)
        assert proxies[0]["has"] is True


async def test_a_name_that_is_removed_ends_in_404_and_its_cluster_is_withdrawn(shared: Host) -> None:
    async with service("gone soon") as port:
        shared.put("temporary", port)
        assert (await shared.call("temporary")).status == 200
        shared.remove("temporary")

        async def gone() -> bool:
            return (await shared.call("temporary")).status == 404

        await eventually(gone, 10, "the removed name is still served")
