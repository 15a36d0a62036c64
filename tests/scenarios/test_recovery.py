"""Scenario 8: what each platform does now and then, and what changed meanwhile has to be known five seconds later.

Nothing is read again on a timer here: that would set right what recovery has to. Consul's index going backwards is in
`tests/mesh/agent/test_consul_end_to_end.py`; a dockerd that is killed, in `test_real_recovery`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from demo.calls import Load
from scripts.running import eventually, service
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.marathon import FakeMarathon
from tests.host import PATIENCE
from tests.scenarios.fleet import Fleet, Name, each
from tests.scenarios.platforms import Kubernetes, Marathon

KINDS = ("marathon", "kubernetes")
SETTINGS = {"resync": "1h"}
TABLE = each("stays", "goes", "stream", "status")
RECOVERY_SECONDS = 5.0
pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def changing(users: Name) -> AsyncIterator[tuple[int, int, Load]]:
    """Within the block what it serves changes from `one` and `two` to `two` and `three`; yields these and the load."""
    async with service("one") as one, service("two") as two, service("three") as three:
        await users.begin(one, two)
        async with users.load() as seen:
            await users.until_ports(one, two)
            yield two, three, seen
            await users.until_ports(two, three, seconds=RECOVERY_SECONDS)
            await users.until_fresh(RECOVERY_SECONDS)
            assert await seen.until_answered_by("three", PATIENCE), users.host.agent.tail()
        print(f"{users.called}: {seen.answers.total()} requests, {seen.failed.total()} failed")
        assert not seen.failed
        assert set(seen.answers) == {"one", "two", "three"}


def marathon(fleet: Fleet) -> FakeMarathon:
    platform = fleet.platforms["marathon"]
    assert isinstance(platform, Marathon)
    return platform.fake


def kubernetes(fleet: Fleet) -> FakeKubernetes:
    platform = fleet.platforms["kubernetes"]
    assert isinstance(platform, Kubernetes)
    return platform.fake


async def test_a_marathon_that_elects_another_leader_is_followed(fleet: Fleet) -> None:
    fake, users = marathon(fleet), fleet.name("stays", "marathon")
    async with changing(users) as (two, three, seen):
        fake.elect(None)
        held = await users.until_held()
        await users.serve(two, three)
        await users.more_answers(seen, 50)
        assert "three" not in seen.answers
        fake.elect(1)
    print(f"without a leader: {held['held']!r}")


async def test_a_marathon_whose_leader_dies_is_followed_to_the_next_one(fleet: Fleet) -> None:
    fake, users = marathon(fleet), fleet.name("goes", "marathon")
    leader = fake.leader
    assert leader is not None
    async with changing(users) as (two, three, seen):
        await fake.go_dark(leader)
        fake.elect(None)
        await users.serve(two, three)
        await users.until_held()
        await users.more_answers(seen, 50)
        assert "three" not in seen.answers
        fake.elect(1 - leader)
    await fake.come_back(leader)


async def test_a_watch_that_is_told_410_begins_anew(fleet: Fleet) -> None:
    fake, users = kubernetes(fleet), fleet.name("stream", "kubernetes")
    async with changing(users) as (two, three, seen):
        await users.platform.serve_untold("stream", two, three)
        await users.more_answers(seen, 50)
        assert "three" not in seen.answers
        fake.expire()


async def test_a_watch_that_is_refused_with_410_begins_anew(fleet: Fleet) -> None:
    fake, users = kubernetes(fleet), fleet.name("status", "kubernetes")
    fake.gone_as_status = True
    async with changing(users) as (two, three, seen):
        await users.platform.serve_untold("status", two, three)
        await users.more_answers(seen, 50)
        assert "three" not in seen.answers
        fake.store.expire()
        watches = len(fake.asked)
        fake.cut_watch()
        await eventually(lambda: len(fake.asked) > watches, PATIENCE, "nobody has begun another watch")
    fake.gone_as_status = False
