"""Scenario 7: what was an instance of `users` a moment ago is one of `orders`, at the same address and port."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from demo.calls import Load
from scripts.ports import free_port
from scripts.running import service
from tests.host import PATIENCE
from tests.scenarios.fleet import Fleet, Name, each
from tests.scenarios.platforms import PLATFORMS

TABLE = each("users", "orders")
TIMES = 2
BOUND_SECONDS = 1.0
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def lends(name: Name, seen: Load, steady: tuple[int, int], port: int) -> float:
    """An instance of it serves at the port, is taken out, finishes what it was asked, stops. When it was taken out."""
    answer = f"{name.label}, moving"
    async with service(answer, port):
        await name.serve(*steady, port)
        assert await seen.until_answered_by(answer, PATIENCE), name.host.agent.tail()
        await name.serve(*steady)
        out = asyncio.get_running_loop().time()
        await name.until_ports(*steady)
        # Two callers, each with one request at a time: after so many answers none is under way to it.
        await name.more_answers(seen, 10)
    return out


@pytest.mark.parametrize("kind", PLATFORMS)
async def test_a_port_that_another_service_takes_over_misleads_nobody(fleet: Fleet, kind: str) -> None:
    users, orders = fleet.name("users", kind), fleet.name("orders", kind)
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(service(each)) for each in ("users", "users", "orders", "orders")]
        steady, others, moving = (ports[0], ports[1]), (ports[2], ports[3]), free_port()
        await users.begin(*steady)
        await orders.begin(*others)
        asked = await stack.enter_async_context(users.load())
        ordered = await stack.enter_async_context(orders.load())
        gaps = []
        for _ in range(TIMES):
            out = await lends(users, asked, steady, moving)
            gaps.append(asyncio.get_running_loop().time() - out)
            out = await lends(orders, ordered, others, moving)
            gaps.append(asyncio.get_running_loop().time() - out)
        assert not asked.failed
        assert not ordered.failed
        assert set(asked.answers) == {"users", "users, moving"}
        assert set(ordered.answers) == {"orders", "orders, moving"}
        # Else nothing is tested: the port was taken over within a second.
        assert max(gaps) < BOUND_SECONDS
    total = asked.answers.total() + ordered.answers.total()
    print(f"{kind}: taken over {len(gaps)} times, {max(gaps):.2f} s after at most; {total} requests, none misled")
