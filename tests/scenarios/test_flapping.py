"""Scenario 4: an instance that comes and goes ten times a second beside two that stay."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack

import pytest

from demo.calls import Load
from scripts.running import eventually, service
from tests.host import PATIENCE
from tests.scenarios.fleet import LONG, Fleet, Name, each, eds_pushes
from tests.scenarios.platforms import PLATFORMS

TABLE = each("together", "alone")
HERTZ, SECONDS = 10, 5
STEADY = ("one", "two")
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def flap(users: Name, seen: Load, steady: tuple[int, int], flapping: int, seconds: int) -> None:
    """The last thing it does is to go. Each second both steady ones must have answered."""
    for _ in range(seconds):
        before = Counter(seen.answers)
        for _ in range(HERTZ):
            await users.serve(*steady, flapping)
            await asyncio.sleep(0.5 / HERTZ)
            await users.serve(*steady)
            await asyncio.sleep(0.5 / HERTZ)
        assert min((seen.answers - before)[who] for who in STEADY) > 0, users.platform.kind


async def flapping(names: Iterable[Name], seconds: int) -> None:
    """All of them at the same time. A push is a response with endpoints to Envoy, for whichever of them."""
    async with AsyncExitStack() as stack:
        one, two, flaps = [await stack.enter_async_context(service(answer)) for answer in (*STEADY, "flaps")]
        loads: list[tuple[Name, Load]] = []
        for users in names:
            await users.begin(one, two, flaps)
            await users.until_ports(one, two, flaps)
            loads.append((users, await stack.enter_async_context(users.load(callers=1))))
        host = loads[0][0].host
        before = await eds_pushes(host)
        async with asyncio.TaskGroup() as tasks:
            for users, seen in loads:
                tasks.create_task(flap(users, seen, (one, two), flaps, seconds))
        pushes = await eds_pushes(host) - before
        for users, seen in loads:
            await users.serve(one, two, flaps)
            await users.until_ports(one, two, flaps)
            enough = seen.answers["flaps"] + 10
            await eventually(lambda: seen.answers["flaps"] >= enough, PATIENCE, f"{users.id} serves no more")  # noqa: B023
            print(f"{users.platform.kind}: {seen.answers.total()} requests, {seen.failed.total()} failed")
            assert not seen.failed, users.id
        print(f"{pushes} pushes in {seconds} s for {len(loads)} names")
        assert 0 < pushes <= len(loads) * (seconds + 1)


async def test_instances_that_flap_on_every_platform_cost_a_push_a_second_each_and_no_request(fleet: Fleet) -> None:
    await flapping([fleet.name("together", kind) for kind in PLATFORMS], SECONDS)


async def test_an_instance_that_flaps_alone_costs_its_host_a_push_a_second(fleet: Fleet) -> None:
    await flapping([fleet.name("alone", "docker")], SECONDS)


@pytest.mark.soak
@pytest.mark.parametrize("kind", PLATFORMS)
async def test_an_instance_that_flaps_for_long_costs_its_host_a_push_a_second(fleet: Fleet, kind: str) -> None:
    await flapping([fleet.name("alone", kind)], int(LONG))
