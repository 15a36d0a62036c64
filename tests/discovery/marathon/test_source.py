"""The whole source against a fake Marathon that speaks the wire; `test_fake` lets a third party judge that fake."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from discovery.address import Bound, Health
from discovery.marathon.config import MarathonConfig
from discovery.path import Path
from discovery.shared import Shared
from discovery.source import Misconfigured, Unavailable
from tests.discovery.contract import ONE, THREE, TWO, Key, SourceContract, Watch, World, keys, watching
from tests.fakes.marathon import FakeMarathon, fake_marathon
from tests.fakes.marathon_apps import group_change

USERS = Path(("users",))


class MarathonWorld(World):
    def __init__(self, fake: FakeMarathon) -> None:
        self.fake = fake

    async def put(self, name: Path, *endpoints: Key) -> None:
        self.fake.apps.place(name.show(), endpoints)

    async def remove(self, name: Path) -> None:
        self.fake.apps.destroy(name.show())

    async def empty(self, name: Path) -> None:
        self.fake.apps.define(name.show())

    async def go_dark(self) -> None:
        await self.fake.go_dark()

    async def come_back(self) -> None:
        await self.fake.come_back()

    async def garble(self, name: Path) -> None:
        self.fake.faults.body["/v2/apps"] = b"<html>busy</html>"

    async def misconfigure(self) -> None:
        self.fake.faults.status = 403

    async def halve(self, name: Path) -> None:
        self.fake.faults.halves = True

    async def stall(self) -> None:
        self.fake.faults.stalls = True

    async def lose(self, name: Path, *endpoints: Key) -> None:
        self.fake.faults.is_mute = True
        await self.put(name, *endpoints)
        self.fake.faults.is_mute = False


class TestMarathonContract(SourceContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with fake_marathon() as fake:
            world = MarathonWorld(fake)
            async with MarathonConfig(addresses=(fake.urls[0],)).open() as source:
                world.source = source
                yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeMarathon]:
    async with fake_marathon() as running:
        running.apps.place("/users", [ONE])
        yield running


@pytest.fixture
async def source(fake: FakeMarathon) -> AsyncIterator[Shared]:
    async with MarathonConfig(addresses=(fake.urls[0],)).open() as opened:
        yield opened


def healths(watch: Watch) -> list[Health]:
    return [endpoint.health for endpoint in watch.latest.endpoints] if isinstance(watch.latest, Bound) else []


def asked(fake: FakeMarathon, path: str) -> int:
    return sum(each.startswith(f"GET {path}?") for each in fake.asked)


async def test_of_nested_ids_only_those_that_are_apps_exist(fake: FakeMarathon, source: Shared) -> None:
    fake.apps.place("/shop/users/v2", [TWO])
    shop, users, deeper = (Path(("shop", "users", "v2", "x")).take(length) for length in (1, 3, 4))
    async with watching(source, shop) as first, watching(source, users) as second, watching(source, deeper) as third:
        await first.sees_none()
        await second.sees(TWO)
        await third.sees_none()
    assert set(await source.names()) == {USERS, users}


async def test_a_name_that_merely_looks_like_an_id_does_not_exist(fake: FakeMarathon, source: Shared) -> None:
    fake.apps.place("/shop/users", [TWO])
    async with watching(source, Path(("shop/users",))) as watch:
        await watch.sees_none()


async def test_a_task_that_is_being_killed_drains_and_is_gone_before_anybody_was_asked(
    fake: FakeMarathon, source: Shared
) -> None:
    fake.apps.place("/users", [ONE, TWO])
    task = str(fake.apps.tasks("/users")[0]["id"])
    async with watching(source, USERS) as watch:
        await watch.sees(ONE, TWO)
        fake.faults.stalls_at = "/v2/apps/users"
        fake.apps.update("/users", task, "TASK_KILLING")
        await watch.until(lambda watch: healths(watch) == [Health.DRAINING, Health.UNKNOWN], "a draining task")
        fake.apps.update("/users", task, "TASK_KILLED")
        await watch.sees(TWO)


async def test_a_new_task_is_called_when_it_runs(fake: FakeMarathon, source: Shared) -> None:
    staging = fake.apps.new_task("/orders", TWO[0], TWO[1], state="TASK_STAGING", startedAt=None)
    orders = Path(("orders",))
    async with watching(source, orders) as watch:
        await watch.sees_none()
        fake.apps.define("/orders", staging)
        await watch.sees()
        fake.apps.update("/orders", str(staging["id"]), "TASK_RUNNING")
        await watch.sees(TWO)


async def test_health_comes_and_goes_with_the_checks(fake: FakeMarathon, source: Shared) -> None:
    fake.apps.define("/users", fake.apps.new_task("/users", *ONE), healthChecks=[{"protocol": "HTTP", "path": "/"}])
    task = str(fake.apps.tasks("/users")[0]["id"])
    async with watching(source, USERS) as watch:
        await watch.until(lambda watch: healths(watch) == [Health.UNHEALTHY], "a task that was not checked")
        for alive, health in ((True, Health.HEALTHY), (False, Health.UNHEALTHY), (True, Health.HEALTHY)):
            fake.apps.check("/users", task, alive=alive)
            await watch.until(lambda watch, health=health: healths(watch) == [health], f"{health}")
        # A leader that has just been elected has checked nothing.
        fake.apps.forget_health()
        await source.reread(10)
        assert healths(watch) == [Health.HEALTHY]


async def test_a_host_name_is_resolved(fake: FakeMarathon, source: Shared) -> None:
    fake.apps.place("/users", [("localhost", 8080)])
    async with watching(source, USERS) as watch:
        await watch.until(lambda watch: ("127.0.0.1", 8080) in (keys(watch.latest) or ()), "an address")
        assert isinstance(watch.latest, Bound)
        assert {endpoint.host for endpoint in watch.latest.endpoints} == {"localhost"}


async def test_an_event_about_one_app_asks_for_that_app_only(fake: FakeMarathon, source: Shared) -> None:
    fake.apps.place("/orders", [TWO])
    async with watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.apps.place("/users", [ONE, TWO])
        await watch.sees(ONE, TWO)
        assert (asked(fake, "/v2/apps"), asked(fake, "/v2/apps/orders")) == (1, 0)


async def test_a_burst_of_events_about_one_app_is_a_few_questions(fake: FakeMarathon, source: Shared) -> None:
    many = [(f"10.1.0.{number}", 31000) for number in range(200)]
    async with watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.apps.place("/users", many)
        await watch.sees(*many)
        assert asked(fake, "/v2/apps/users") <= 10


async def test_an_event_that_names_no_app_has_all_read_again(fake: FakeMarathon, source: Shared) -> None:
    async with watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.faults.is_mute = True
        fake.apps.place("/users", [TWO])
        fake.faults.is_mute = False
        fake.tell(group_change("/"))
        await watch.sees(TWO)
        assert asked(fake, "/v2/apps") == 2


async def test_an_app_that_cannot_be_asked_for_by_its_id_is_read_with_all(fake: FakeMarathon, source: Shared) -> None:
    tasks = Path(("users", "tasks"))
    async with watching(source, tasks) as watch:
        await watch.sees_none()
        fake.apps.place("/users/tasks", [TWO])
        await watch.sees(TWO)
        assert asked(fake, "/v2/apps/users/tasks") == 0


async def test_an_app_that_makes_no_sense_concerns_nobody_else(fake: FakeMarathon, source: Shared) -> None:
    fake.apps.define("/orders", labels={"tieline.weight": "much"})
    async with watching(source, USERS) as watch, watching(source, Path(("orders",))) as other:
        assert isinstance(await other.ends(), Misconfigured)
        await watch.sees(ONE)
        fake.apps.place("/orders", [TWO])
    async with watching(source, USERS) as watch, watching(source, Path(("orders",))) as other:
        await other.sees(TWO)
        await watch.sees(ONE)


async def test_while_there_is_no_leader_nothing_is_lost_and_then_it_goes_on() -> None:
    async with fake_marathon(3) as fake:
        fake.apps.place("/users", [ONE])
        config = MarathonConfig(addresses=tuple(fake.urls))
        async with config.open() as source:
            async with watching(source, USERS) as watch:
                await watch.sees(ONE)
                fake.elect(None)
                assert isinstance(await watch.ends(), Unavailable)
                assert watch.published == [watch.published[0]] * len(watch.published)
            await fake.go_dark(0)
            fake.elect(2)
            async with watching(source, USERS) as watch:
                await watch.sees(ONE)
                fake.apps.place("/users", [TWO])
                await watch.sees(TWO)


async def test_events_that_get_lost_cost_only_time(fake: FakeMarathon, source: Shared) -> None:
    rng = random.Random(7)
    fake.faults.drops = 5
    async with watching(source, USERS) as watch:
        await watch.sees(ONE)
        for _ in range(60):
            wanted = rng.sample([ONE, TWO, THREE, ("10.0.0.4", 1), ("10.0.0.5", 2)], rng.randint(0, 5))
            fake.apps.place("/users", wanted)
            await asyncio.sleep(0)
        await source.reread(10)
        await watch.sees(*wanted)


async def test_another_process_may_be_the_fake() -> None:
    command = [sys.executable, "-m", "tests.fakes.marathon", "--apps", "3", "--tasks", "2"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        name = Path(("app", "2"))
        async with MarathonConfig(addresses=(url,)).open() as source, watching(source, name) as watch:
            await watch.sees(("10.0.0.4", 31000), ("10.0.0.5", 31000))
            async with aiohttp.ClientSession() as session, session.put(f"{url}/fake/apps/app/2", json=[ONE]) as answer:
                assert answer.status == 204
            await watch.sees(ONE)
    finally:
        process.kill()
        await process.wait()
