"""Scenarios 1 and 2: a source that is killed, or lies, while its name is called. Callers must not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from scripts.running import eventually, service
from tests.host import PATIENCE
from tests.scenarios.fleet import LONG, Fleet, Name, each
from tests.scenarios.platforms import PLATFORMS

TABLE = each("killed", "lying", "emptied")
KILLED_SECONDS, EMPTY_SECONDS = 0.5, 4.0
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def killed(users: Name, seconds: float) -> None:
    """`seconds`: how much older, at least, what is held must become."""
    async with service("one") as one, service("two") as two, service("three") as three:
        await users.begin(one, two)
        async with users.load() as seen:
            await users.until_ports(one, two)
            await users.platform.go_dark()
            held = await users.until_held()
            age = (await users.source())["oldest_confirmed_seconds"]

            async def older() -> bool:
                return bool((await users.source())["oldest_confirmed_seconds"] >= age + seconds)

            await eventually(older, seconds + PATIENCE, "its age does not rise")
            assert (await users.source())["state"] == "held"
            assert (await users.host.names())[users.called]["held"]
            assert await users.ports() == {one, two}
            await users.more_answers(seen)
            await users.serve(two, three)
            await users.platform.come_back()
            await users.until_fresh()
            await users.until_ports(two, three)
            assert await seen.until_answered_by("three", PATIENCE)
        print(f"{users.platform.kind}: held for {held['held']!r}; {seen.answers.total()} requests")
        assert not seen.failed
        await users.serve(two)


@pytest.mark.parametrize("kind", PLATFORMS)
async def test_a_source_that_is_killed_costs_no_request_and_its_return_is_followed(fleet: Fleet, kind: str) -> None:
    await killed(fleet.name("killed", kind), KILLED_SECONDS)


@pytest.mark.soak
@pytest.mark.parametrize("kind", PLATFORMS)
async def test_a_source_that_is_away_for_long_costs_no_request(fleet: Fleet, kind: str) -> None:
    await killed(fleet.name("killed", kind), LONG)


Fault = Callable[[Name], Awaitable[None]]
FAULTS: dict[str, Fault] = {
    "500": lambda users: users.platform.refuse(500),
    "403": lambda users: users.platform.refuse(403),
    "garbage": lambda users: users.platform.garble(users.platform.name(users.label)),
    "half an answer": lambda users: users.platform.halve(users.platform.name(users.label)),
}


async def lying(users: Name) -> None:
    kind = users.platform.kind
    async with service("one") as one, service("two") as two, service("three") as three:
        await users.begin(one, two)
        async with users.load() as seen:
            await users.until_ports(one, two)
            for what, fault in FAULTS.items():
                await fault(users)
                held = (await users.until_held())["held"]
                await users.more_answers(seen, 50)
                assert await users.ports() == {one, two}, f"{kind}: {what}"
                await users.platform.heal()
                await users.until_fresh()
                print(f"{kind}: {what} is {held!r}")
            assert set(seen.answers) == {"one", "two"}, kind
            await users.serve(two, three)
            assert await seen.until_answered_by("three", PATIENCE), users.host.agent.tail()
            await users.until_ports(two, three)
        print(f"{kind}: {seen.answers.total()} requests, {seen.failed.total()} failed")
        assert not seen.failed, kind
        await users.serve(two)


async def test_whatever_a_source_answers_in_trouble_removes_no_endpoint(fleet: Fleet) -> None:
    """All platforms at once, each with all its faults in turn."""
    async with asyncio.TaskGroup() as tasks:
        for kind in PLATFORMS:
            tasks.create_task(lying(fleet.name("lying", kind)))


async def emptied(users: Name, seconds: float) -> None:
    async with service("one") as one, service("two") as two, service("three") as three:
        await users.begin(one, two)
        async with users.load() as seen:
            await users.until_ports(one, two)
            await users.platform.deny_all()
            assert "vanished" in (await users.until_held())["held"], users.platform.kind
            await asyncio.sleep(seconds)  # the lie has to last
            assert await users.ports() == {one, two}, users.platform.kind
            assert set(seen.answers) == {"one", "two"}, users.platform.kind
            held = (await users.known())["held"]
            await users.platform.heal()
            await users.until_fresh()
            await users.serve(two, three)
            assert await seen.until_answered_by("three", PATIENCE), users.host.agent.tail()
            await users.until_ports(two, three)
        print(f"{users.platform.kind}: {held!r}; {seen.answers.total()} requests, {seen.failed or 0} failed")
        assert not seen.failed, users.platform.kind
        await users.serve(two)


async def test_a_valid_empty_list_is_outlasted_by_a_name_that_has_nothing_else(fleet: Fleet) -> None:
    """All platforms at once: it takes seconds."""
    async with asyncio.TaskGroup() as tasks:
        for kind in PLATFORMS:
            tasks.create_task(emptied(fleet.name("emptied", kind), EMPTY_SECONDS))


@pytest.mark.soak
async def test_a_valid_empty_list_is_outlasted_for_almost_the_last_resort(fleet: Fleet) -> None:
    async with asyncio.TaskGroup() as tasks:
        for kind in PLATFORMS:
            tasks.create_task(emptied(fleet.name("emptied", kind), 25.0))
