"""HTTP/1.1, HTTP/2 and gRPC by one port, to services that don't say what they speak, and to some that do."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc.aio
import httpx
import pytest

from scripts.running import eventually, service
from tests.host import PATIENCE, Host, host, running


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running() as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


@asynccontextmanager
async def speaker() -> AsyncIterator[int]:
    async def say(request: bytes, _context: object) -> bytes:
        return b"heard " + request

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(say, request_deserializer=bytes, response_serializer=bytes)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", {"Say": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def say(to: Host, name: str) -> bytes:
    options = [("grpc.default_authority", name)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{to.agent.port}", options=options) as channel:
        call = channel.unary_unary("/t.Echo/Say", request_serializer=bytes, response_deserializer=bytes)
        answer: bytes = await call(b"hello", timeout=10)
        return answer


async def over_http_2(to: Host, name: str) -> httpx.Response:
    async with httpx.AsyncClient(http1=False, http2=True) as client:
        return await client.get(to.agent.url, headers={"host": name})


async def test_an_http_2_caller_reaches_a_service_that_speaks_http_1(shared: Host) -> None:
    async with service("plain") as port:
        shared.put("plain", port)
        for _ in range(3):
            answer = await over_http_2(shared, "plain")
            assert (answer.http_version, answer.status_code, answer.text) == ("HTTP/2", 200, "plain")
        assert (await shared.call("plain")).body == "plain"


async def test_grpc_reaches_a_service_that_does_not_say_that_it_speaks_it(shared: Host) -> None:
    async with speaker() as port:
        shared.put("speaker", port)
        for _ in range(3):
            assert await say(shared, "speaker") == b"heard hello"


async def test_grpc_is_let_in_at_once_to_a_name_that_was_bound_for_others(shared: Host) -> None:
    """The first gRPC request of such a name asks the brain again; many at once must all pass."""
    async with speaker() as port:
        for number in range(20):
            name = f"late{number}"
            shared.put(name, port)
            # An HTTP/1.1 call binds it, though a gRPC server answers it with nonsense.
            await shared.call(name)
            async with asyncio.TaskGroup() as tasks:
                calls = [tasks.create_task(say(shared, name)) for _ in range(5)]
            assert {call.result() for call in calls} == {b"heard hello"}


async def test_a_grpc_name_stays_one_over_a_restart_of_the_brain() -> None:
    async with host() as started, speaker() as port:
        started.put("speaker", port)
        assert await say(started, "speaker") == b"heard hello"
        await asyncio.sleep(0)
        await eventually(lambda: _written(started), PATIENCE, "the snapshot was not written")
        brain = started.agent.children()["brain"]
        os.kill(brain, signal.SIGKILL)
        # Nobody answers for the brain now: only a route of its own lets gRPC pass.
        assert await say(started, "speaker") == b"heard hello"
        await eventually(lambda: started.agent.children().get("brain", brain) != brain, PATIENCE, "no new brain")
        await started.agent.until_ready()
        before = await _resolved(started)
        assert await say(started, "speaker") == b"heard hello"
        assert await _resolved(started) == before
        await started.no_nacks()


async def _written(started: Host) -> bool:
    snapshot = (await started.json("/status"))["snapshot"]
    assert isinstance(snapshot, dict)
    return snapshot["written_at"] is not None


async def _resolved(started: Host) -> float:
    """How many requests the brain was asked about."""
    _, text = await started.agent.ask("/metrics")
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("tieline_resolved_total"))
