"""Deadlines that requests carry from hop to hop, through a real Envoy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import grpc.aio
import pytest

from mesh.envoy.deadlines import HEADER, PASSED, UNREADABLE
from scripts.ports import free_port
from tests.host import Host, host, running
from tests.mesh.agent.test_overrides import echo
from tests.upstream import upstream

POLICIES = [
    {"match": "/svc/carried", "timeout": {"deadline": True, "request": "5s"}},
    {"match": "/svc/endless", "timeout": {"deadline": True, "request": None}},
    {"match": "/svc/quick", "timeout": {"deadline": True, "request": "200ms"}},
    {"match": "/svc/calls", "timeout": {"deadline": True, "request": "100ms", "grpc": "5s"}},
]


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(policies=POLICIES) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


async def test_the_earlier_of_deadline_and_timeout_goes_on(shared: Host) -> None:
    async with echo("ok") as (port, got):
        for name in ("carried", "endless", "plain"):
            shared.put(name, port)
        before = time.time()
        assert (await shared.call("carried")).body == "ok"
        assert before + 4.9 <= float(got[-1][HEADER]) <= time.time() + 5
        assert not [name for name in got[-1] if name.startswith("x-envoy-up")]
        soon, late = f"{time.time() + 2:.3f}", f"{time.time() + 60:.3f}"
        await shared.call("carried", **{HEADER: soon})
        assert got[-1][HEADER] == soon
        await shared.call("carried", **{HEADER: late})
        assert float(got[-1][HEADER]) <= time.time() + 5
        await shared.call("endless", **{HEADER: late})
        assert got[-1][HEADER] == late
        await shared.call("endless")
        assert HEADER not in got[-1]
        assert (await shared.call("endless", **{HEADER: "9" * 30})).body == "ok"
        assert float(got[-1][HEADER]) > time.time() + 1e9
        # No policy: it is a header like others.
        await shared.call("plain", **{HEADER: "x"})
        assert got[-1][HEADER] == "x"


async def test_a_request_that_its_path_identifies_has_a_deadline_too() -> None:
    """What identifies it is gone from the request by then, and its route must not be looked for again."""
    routers = [{"name": "path", "port": (port := free_port()), "identifier": {"kind": "path", "consume": True}}]
    async with echo("ok") as (upstream_port, got), host(policies=POLICIES, routers=routers) as started:
        started.put("carried", upstream_port)
        for _ in range(2):
            assert (await started.call("nobody", "/carried/x", port=port)).body == "ok"
            assert HEADER in got[-1]


async def test_a_request_ends_at_its_deadline(shared: Host) -> None:
    async with upstream("slow") as slow:
        for name in ("carried", "endless", "quick"):
            shared.put(name, slow.port)
        slow.free.clear()
        for name in ("carried", "endless"):
            answer = await shared.call(name, **{HEADER: f"{time.time() + 1:.3f}"})
            assert (answer.status, answer.err) == (504, f"{name} did not answer in time")
        assert (await shared.call("quick", **{HEADER: f"{time.time() + 60:.3f}"})).status == 504
        asked = slow.asked["GET"]
        over = await shared.call("carried", **{HEADER: f"{time.time() - 1:.3f}"})
        assert (over.status, over.err, over.body) == (504, PASSED, f"tieline: {PASSED}\n")
        for said in ("tomorrow", "nan", "inf", "0x10", "1e9", "-1", "1.2.3"):
            wrong = await shared.call("carried", **{HEADER: said})
            assert (wrong.status, wrong.err, wrong.body) == (400, UNREADABLE, f"tieline: {UNREADABLE}\n"), said
        assert slow.asked["GET"] == asked


async def test_grpc_calls_have_their_own_most(shared: Host) -> None:
    """`request` would cut a stream; `grpc-timeout` counts, and goes on as what is left."""
    got: list[dict[str, str]] = []
    left: list[float] = []

    async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        got.append({str(key): str(value) for key, value in context.invocation_metadata() or ()})
        left.append(float(context.time_remaining() or 0))
        await asyncio.sleep(0.3)
        return request

    server, port = grpc.aio.server(), free_port()
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"M": method}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    shared.put("calls", port)
    try:
        options = [("grpc.default_authority", "calls")]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{shared.agent.port}", options=options) as channel:
            call = channel.unary_unary("/t.T/M")
            assert await call(b"x", timeout=4) == b"x"
            assert float(got[-1][HEADER]) > time.time() + 3
            assert 3 < left[-1] <= 4
            assert await call(b"x", timeout=2) == b"x"
            assert time.time() + 1 < float(got[-1][HEADER]) <= time.time() + 2
            assert await call(b"x", timeout=4, metadata=((HEADER, f"{time.time() + 1.5:.3f}"),)) == b"x"
            assert 0 < left[-1] <= 1.5
            assert await call(b"x") == b"x"
            assert 4 < left[-1] <= 5
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"x", metadata=((HEADER, f"{time.time() + 0.1:.3f}"),))
    finally:
        await server.stop(0)


async def test_an_edge_does_not_say_why() -> None:
    routers = [{"name": "edge", "port": (port := free_port()), "errors": "hidden"}]
    async with echo("ok") as (behind, _), host(policies=POLICIES, routers=routers) as started:
        started.put("carried", behind)
        for said, status in (("1", 504), ("x", 400)):
            answer = await started.call("carried", port=port, **{HEADER: said})
            assert (answer.status, answer.err, answer.body) == (status, "", f"error {status}\n")
