"""Scenario 3: one event in twenty is lost, at random. Reading again sets it right, and callers never notice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from scripts.running import eventually, service
from tests.scenarios.fleet import Fleet, Name, each
from tests.scenarios.platforms import PLATFORMS, QUICK

TABLE = each("moving")
ONE_IN, RESYNC_SECONDS = 20, 1.0
BUSY_SECONDS = 4.0
"""For a machine on which other tests run; without reading again a lost event would never be made good."""
BOUND_SECONDS = 2 * RESYNC_SECONDS + BUSY_SECONDS
BURST, PAUSE_SECONDS = 5, 0.02
BURSTS, MANY_BURSTS = 12, 200
RING = 60
"""So many that none comes again within a second: what does is damped, which is another scenario."""
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Changes:
    """Four endpoints that stay, and two that are others with each change."""

    def __init__(self, users: Name, steady: Sequence[int], ring: Sequence[int]) -> None:
        self.users, self.steady, self.ring = users, tuple(steady), ring
        self.at, self.made, self.lost = 0, 0, 0
        self._dice = random.Random(users.platform.kind)

    @property
    def truth(self) -> tuple[int, ...]:
        return *self.steady, *(self.ring[(self.at + each) % len(self.ring)] for each in range(2))

    async def burst(self, *, last_is_lost: bool) -> float:
        """How long until explain says the truth, from the first of these changes."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(BURST):
            self.at, self.made = self.at + 1, self.made + 1
            await self._tell(last_is_lost and number == BURST - 1)
            await asyncio.sleep(PAUSE_SECONDS)

        async def is_right() -> bool:
            return await self.users.ports() == set(self.truth)

        what = f"{self.users.id} is wrong for longer than two resyncs\n{self.users.host.agent.tail()}"
        await eventually(is_right, BOUND_SECONDS - (loop.time() - began), what)
        return loop.time() - began

    async def _tell(self, is_lost: bool) -> None:
        if is_lost or self._dice.random() < 1 / ONE_IN:
            self.lost += 1
            await self.users.platform.serve_untold(self.users.label, *self.truth)
        else:
            await self.users.serve(*self.truth)


async def moving(users: Name, steady: Sequence[int], ring: Sequence[int], bursts: int) -> None:
    changes = Changes(users, steady, ring)
    await users.begin(*changes.truth)
    async with users.load(callers=1) as seen:
        await users.until_ports(*changes.truth)
        stale = [await changes.burst(last_is_lost=number == bursts - 1) for number in range(bursts)]
        await users.until_ports(*changes.truth)
        await users.more_answers(seen, 20)
    counts = f"{changes.lost} of {changes.made} changes lost, stale for {max(stale):.2f} s at the most"
    print(f"{users.platform.kind}: {counts}; {seen.answers.total()} requests, {seen.failed.total()} failed")
    assert not seen.failed, users.platform.kind


async def all_moving(fleet: Fleet, bursts: int) -> None:
    assert QUICK["resync"] == f"{RESYNC_SECONDS:g}s"
    async with AsyncExitStack() as stack:
        steady = [await stack.enter_async_context(service("steady")) for _ in range(4)]
        ring = [await stack.enter_async_context(service("moving")) for _ in range(RING)]
        async with asyncio.TaskGroup() as tasks:
            for kind in PLATFORMS:
                tasks.create_task(moving(fleet.name("moving", kind), steady, ring, bursts))


async def test_lost_events_cost_no_request_and_no_more_than_two_resyncs(fleet: Fleet) -> None:
    await all_moving(fleet, BURSTS)


@pytest.mark.soak
async def test_many_lost_events_leave_nothing_wrong(fleet: Fleet) -> None:
    await all_moving(fleet, MANY_BURSTS)
