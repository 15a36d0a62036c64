"""Limits, ejection by rate, panic, connect time-outs and health checks, each through a real Envoy and real servers."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import grpc.aio
import pytest

from scripts.ports import free_port
from scripts.running import eventually
from tests.host import PATIENCE, Host, running
from tests.mesh.agent.test_policies import many, until_known
from tests.upstream import upstream

OVERFLOW = "circuit breaker limit reached"
CHECK = {"interval": "100ms", "timeout": "1s", "unhealthy_after": 1, "healthy_after": 1}
POLICIES = [
    {"match": "/svc/one-line", "limits": {"connections": 1, "pending": 1}},
    {"match": "/svc/frugal", "retries": {"statuses": [500], "budget": {"percent": 1, "floor": 0}}, "ejection": None},
    {
        "match": "/svc/rated",
        "ejection": {
            "gateway_failures": None,
            "success_rate": {"minimum_hosts": 3, "request_volume": 5, "stdev_factor": 1.0},
            "interval": "500ms",
            "base_time": "30s",
        },
        "balancing": {"policy": "round_robin"},
    },
    {"match": "/svc/calm", "health_check": CHECK},
    {"match": "/svc/panics", "health_check": CHECK, "balancing": {"panic_threshold": 50}},
    {"match": "/svc/far", "timeout": {"connect": "100ms"}, "retries": {"num_retries": 0}},
    {"match": "/svc/grpc", "health_check": {"protocol": "grpc", **CHECK}},
    {"match": "/svc/tcp", "health_check": {"protocol": "tcp", **CHECK}, "retries": {"num_retries": 0}},
]


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(policies=POLICIES) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


async def test_beyond_connections_requests_wait_and_beyond_pending_they_fail(shared: Host) -> None:
    async with upstream("slow") as slow:
        shared.put("one-line", slow.port)
        assert (await shared.call("one-line")).status == 200
        slow.free.clear()
        slow.arrived.clear()
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(shared.call("one-line")) for _ in range(8)]
            await eventually(lambda: sum(each.done() for each in calls) >= 4, PATIENCE, "nobody is refused")
            refused = [each.result() for each in calls if each.done()]
            # The first call, and one for each of Envoy's two workers: each may have a connection.
            assert slow.asked["GET"] <= 3
            slow.free.set()
        assert {(each.status, each.err.split(": ")[-1]) for each in refused} == {(503, OVERFLOW)}
        assert [each.result().status for each in calls].count(200) >= 1


async def test_the_budget_bounds_retries(shared: Host) -> None:
    async with upstream("broken") as broken:
        broken.status = 500
        shared.put("frugal", broken.port)
        await many(shared, "frugal", 20)
        # Without a budget: 60.
        assert broken.asked["GET"] == 20


async def test_who_answers_much_worse_than_the_others_is_ejected(shared: Host) -> None:
    async with upstream("a") as a, upstream("b") as b, upstream("c") as c, upstream("d") as bad:
        shared.put("rated", a.port, b.port, c.port, bad.port)
        await until_known(shared, "rated", 4)
        bad.status = 500

        async def ejected() -> bool:
            return all(status == 200 for status, _ in await many(shared, "rated", 40))

        await eventually(ejected, PATIENCE, "the bad endpoint is not ejected")
        assert {body for _, body in await many(shared, "rated", 40)} == {"a", "b", "c"}


async def test_sick_endpoints_get_nothing_unless_a_policy_panics(shared: Host) -> None:
    async with upstream("sick") as sick:
        sick.health = 503
        shared.put("calm", sick.port)
        shared.put("panics", sick.port)

        async def refused() -> bool:
            return (await shared.call("calm")).status == 503

        await eventually(refused, PATIENCE, "a sick endpoint gets requests")
        assert (await shared.call("calm")).err.startswith("no usable endpoint for calm")
        assert await many(shared, "panics", 5) == Counter({(200, "sick"): 5})


async def test_a_connection_that_does_not_come_about_ends_in_time(shared: Host) -> None:
    """A listener whose queue is full does not answer the first packet."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):
            knock = socket.socket()
            knock.setblocking(False)
            knock.connect_ex(("127.0.0.1", port))
            waiting.append(knock)
        shared.put("far", port)
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await shared.call("far")
            assert (answer.status, answer.err) == (503, "no endpoint of far could be reached")
            assert "connection timeout" in answer.body
        finally:
            for knock in waiting:
                knock.close()


@dataclass(slots=True)
class Calls:
    """A gRPC server that answers with its name, and says of its health what it is told to: grpc.health.v1, field 1."""

    name: bytes
    health: bytes = b"\x08\x01"  # SERVING

    async def answer(self, _request: bytes, _context: object) -> bytes:
        return self.name

    async def check(self, _request: bytes, _context: object) -> bytes:
        return self.health

    async def served(self, port: int) -> grpc.aio.Server:
        server, unary = grpc.aio.server(), grpc.unary_unary_rpc_method_handler
        for service, methods in (
            ("t.T", {"M": unary(self.answer)}),
            ("grpc.health.v1.Health", {"Check": unary(self.check)}),
        ):
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        return server


async def test_health_by_grpc(shared: Host) -> None:
    ports, one, two = [free_port(), free_port()], Calls(b"one"), Calls(b"two")
    servers = [await each.served(port) for each, port in zip((one, two), ports, strict=True)]
    shared.put("grpc", *ports)
    try:
        options = [("grpc.default_authority", "grpc")]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{shared.agent.port}", options=options) as channel:
            call = channel.unary_unary("/t.T/M")

            async def answered_by(*names: bytes) -> bool:
                return {bytes(await call(b"")) for _ in range(10)} == set(names)

            await eventually(lambda: answered_by(b"one", b"two"), PATIENCE, "a healthy server gets no calls")
            one.health = b"\x08\x02"  # NOT_SERVING
            await eventually(lambda: answered_by(b"two"), PATIENCE, "a server that is not serving gets calls")
    finally:
        for server in servers:
            await server.stop(0)


async def test_health_by_tcp(shared: Host) -> None:
    async with upstream("open") as up:
        async with upstream("closing") as closing:
            shared.put("tcp", up.port, closing.port)
            await until_known(shared, "tcp", 2)

            async def both() -> bool:
                return len(await many(shared, "tcp", 10)) == 2

            await eventually(both, PATIENCE, "one of two open endpoints gets no requests")

        async def one() -> bool:
            return await many(shared, "tcp", 10) == Counter({(200, "open"): 10})

        await eventually(one, PATIENCE, "a closed endpoint gets requests")
