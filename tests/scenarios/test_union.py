"""Scenario 5: one instance that two platforms of a union know is counted once, and the conflict can be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from demo.calls import Load, load
from scripts.running import eventually, service
from tests.host import PATIENCE
from tests.scenarios.fleet import Fleet
from tests.scenarios.platforms import PLATFORMS, Platform

PAIRS = [("consul", "docker"), ("docker", "ecs"), ("ecs", "marathon"), ("marathon", "kubernetes")]
PAIRS += [("kubernetes", "cloudmap"), ("cloudmap", "consul")]
ENOUGH = 400
pytestmark = pytest.mark.asyncio(loop_scope="module")


def TABLE(platforms: Mapping[str, Platform]) -> Iterator[str]:  # noqa: N802 - the fixture's word
    for first, second in PAIRS:
        name = f"{first}-{second}"
        yield f"/svc/{name} => {platforms[first].id(name)} & {platforms[second].id(name)}"
        yield f"/svc/half-{name} => {platforms[first].id(f'half-{name}')} & {platforms[second].id(f'half-{name}')}"


async def counted_in(fleet: Fleet, name: str) -> dict[tuple[str, int], str | None]:
    """By platform and port."""
    explained: Any = await fleet.host.json(f"/explain?name={name}")
    return {
        (known["source"]["kind"], each["port"]): each["counted_in"]
        for known in explained["endpoints"].values()
        for each in known["endpoints"]
    }


async def until_counted(fleet: Fleet, name: str, expected: Mapping[tuple[str, int], str | None]) -> None:
    async def so() -> bool:
        return await counted_in(fleet, name) == expected

    await eventually(so, PATIENCE, f"{name} is not counted so: {expected}\n{fleet.host.agent.tail()}")


async def shares(seen: Load, url: str, name: str) -> Counter[str]:
    """Who answers, of a hundred."""
    before = Counter(seen.answers)
    await eventually(lambda: (seen.answers - before).total() >= ENOUGH, PATIENCE, f"the load on {name} stopped")
    now = seen.answers - before
    return Counter({who: round(100 * count / now.total()) for who, count in now.items()})


async def test_every_platform_is_first_once_and_second_once() -> None:
    assert sorted(first for first, _ in PAIRS) == sorted(second for _, second in PAIRS) == sorted(PLATFORMS)


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_an_instance_of_both_platforms_is_counted_once(fleet: Fleet, first: str, second: str) -> None:
    name, keeper, other = f"{first}-{second}", fleet.platforms[first], fleet.platforms[second]
    async with AsyncExitStack() as stack:
        both, one, two = [await stack.enter_async_context(service(each)) for each in ("both", "one", "two")]
        await keeper.serve(name, both, one)
        await other.serve(name, both, two)
        # What is polled is known a moment later, and the load begins when both know what they have.
        await fleet.host.until(name, "two")
        alone = {(first, both): None, (first, one): None, (second, two): None}
        await until_counted(fleet, name, {**alone, (second, both): keeper.id(name)})
        seen = await stack.enter_async_context(load(fleet.host.agent.url, name))
        twice = await shares(seen, fleet.host.agent.url, name)
        assert (await fleet.host.names())[name]["endpoints"] == 3
        assert not seen.failed, "when the instance was in both from the beginning"
        # Half for each branch is meant, so 25 25 50; it would be 50 25 25 if `both` were counted in each.
        assert 40 < twice["two"] < 60, twice
        await keeper.serve(name, one)
        await until_counted(fleet, name, {(first, one): None, (second, both): None, (second, two): None})
        once = await shares(seen, fleet.host.agent.url, name)
        assert not seen.failed, "when it left the first"
        assert (await fleet.host.names())[name]["endpoints"] == 3
        assert 40 < once["one"] < 60, once
        await keeper.serve(name, both, one)
        await until_counted(fleet, name, {**alone, (second, both): keeper.id(name)})
        assert not seen.failed
    print(f"{first} & {second}: in both {dict(twice)}, in the second {dict(once)}; {seen.answers.total()} requests")


async def test_a_branch_that_exists_without_endpoints_costs_no_request(fleet: Fleet) -> None:
    """A service that is deployed on the second platform and has nothing running there yet."""
    failed: dict[str, Counter[str]] = {}
    async with service("one") as one:
        for first, second in PAIRS:
            name, empty = f"half-{first}-{second}", fleet.platforms[second]
            await empty.empty(empty.name(name))
            await fleet.platforms[first].serve(name, one)
            await fleet.host.until(name, "one")
            async with load(fleet.host.agent.url, name) as seen:
                await eventually(lambda: (seen.answers + seen.failed).total() > 50, PATIENCE, "the load stopped")
            if seen.failed:
                failed[name] = seen.failed
    assert failed == {}
