"""Five platforms live in one table on one host, and one name that all of them have."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from demo.calls import Load, load
from scripts.running import eventually, service
from tests.host import PATIENCE
from tests.scenarios.fleet import Fleet, Json, Name
from tests.scenarios.platforms import Platform

KINDS = ("consul", "ecs", "kubernetes", "docker", "marathon")
HEARS = {
    "consul": "long poll",
    "ecs": "poll every 0.2 s",
    "kubernetes": "events",
    "docker": "events",
    "marathon": "events",
}
pytestmark = pytest.mark.asyncio(loop_scope="module")


def TABLE(platforms: Mapping[str, Platform]) -> Iterator[str]:  # noqa: N802 - the fixture's word
    yield "/svc/users => " + " | ".join(it.id("users") for it in platforms.values())


async def branches(fleet: Fleet) -> dict[str, Json]:
    """What explain says of each branch, by its platform."""
    tree: Any = (await fleet.host.json("/explain?name=users"))["tree"]
    return {branch["source"]["kind"]: branch for branch in tree["alt"]}


async def answered_by(fleet: Fleet, seen: Load, kind: str) -> None:
    """The load, and explain says the same."""
    assert await seen.until_answered_by(kind, PATIENCE, times=20), f"{kind} does not serve\n{fleet.host.agent.tail()}"
    await eventually(lambda: taken(fleet, kind), PATIENCE, f"explain does not say that {kind} is taken")


async def taken(fleet: Fleet, kind: str) -> bool:
    return [each for each, branch in (await branches(fleet)).items() if branch.get("taken")] == [kind]


async def until_state(fleet: Fleet, kind: str, *, held: bool) -> str:
    async def said() -> bool:
        state = (await branches(fleet))[kind]["state"]
        return state["type"] == "bound" and bool(state["held"]) == held

    await eventually(said, PATIENCE, f"explain does not say held: {held} of {kind}\n{fleet.host.agent.tail()}")
    return str((await branches(fleet))[kind]["state"]["held"])


async def killed_while_it_serves(fleet: Fleet, seen: Load, kind: str) -> None:
    later = KINDS[KINDS.index(kind) + 1 :]
    await fleet.platforms[kind].go_dark()
    reason = await until_state(fleet, kind, held=True)
    explained = await branches(fleet)
    assert {each: branch["source"]["freshness"] for each, branch in explained.items()} == HEARS
    assert [each for each in later if explained[each]["state"]["held"]] == []
    await Name(fleet.host, fleet.platforms[kind], "users").more_answers(seen, 50)
    assert await taken(fleet, kind), f"{kind} is held and not called any more"
    await fleet.platforms[kind].come_back()
    await until_state(fleet, kind, held=False)
    print(f"{kind} was killed and held: {reason!r}")


async def test_users_moves_over_five_platforms_and_back_and_each_is_killed_while_it_serves(fleet: Fleet) -> None:
    async with AsyncExitStack() as stack:
        ports = {kind: await stack.enter_async_context(service(kind)) for kind in KINDS}
        for kind in KINDS:
            await fleet.platforms[kind].serve("users", ports[kind])
        await fleet.host.until("users", KINDS[0])
        seen = await stack.enter_async_context(load(fleet.host.agent.url, "users"))
        for kind, following in itertools.pairwise(KINDS):
            await answered_by(fleet, seen, kind)
            await fleet.platforms[kind].forget("users")
            await answered_by(fleet, seen, following)
        for kind in reversed(KINDS[:-1]):
            await fleet.platforms[kind].serve("users", ports[kind])
            await answered_by(fleet, seen, kind)
        moved = dict(seen.answers)
        for kind in KINDS:
            await answered_by(fleet, seen, kind)
            await killed_while_it_serves(fleet, seen, kind)
            if kind != KINDS[-1]:
                await fleet.platforms[kind].forget("users")
        assert not seen.failed, fleet.host.agent.tail()
        assert set(seen.answers) == set(KINDS)
    print(f"there and back: {moved}; in all {seen.answers.total()} requests, {seen.failed.total()} failed")
