"""Scenario 6: ECS answers 20 calls a second to all who ask, and others take most of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from demo.calls import load
from scripts.running import service
from tests.fakes.ecs import fake_ecs, fill
from tests.host import host

TASKS_OF_EACH = 100
LIMIT, OTHERS = 20, 16
MOST_A_SECOND, BOUND_SECONDS = 5, 60.0
ELSEWHERE: dict[str, object] = {"kind": "files", "folder": "disco", "confirm_after": "200ms", "last_resort": 0}


def busiest(times: list[float]) -> int:
    """The most calls in any second."""
    return max(sum(each < start + 1 for each in times[number:]) for number, start in enumerate(times))


async def synced(tasks: int, *, changes: bool) -> None:
    """`users` is one of its services, called from the first moment on; while ECS is read, files have it."""
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(fake_ecs())
        ports = {who: await stack.enter_async_context(service(who)) for who in ("ecs", "files", "later")}
        fill(fake.state, "prod", tasks // TASKS_OF_EACH - 1, TASKS_OF_EACH)
        fake.state.put("prod", "users", *[("127.0.0.1", ports["ecs"])] * TASKS_OF_EACH)
        fake.limit, fake.others = LIMIT, OTHERS
        source: dict[str, object] = {"kind": "ecs", "endpoint_url": fake.url, "region": "eu-west-1"}
        table = "/svc => /#/ecs/prod | /#/files"
        started = await stack.enter_async_context(host(table, sources=[source, ELSEWHERE]))
        started.put("users", ports["files"])
        loop = asyncio.get_running_loop()
        began = loop.time()
        await started.until("users", "files")
        seen = await stack.enter_async_context(load(started.agent.url, "users"))
        assert await seen.until_answered_by("ecs", BOUND_SECONDS), started.agent.tail()
        took, calls = loop.time() - began, len(fake.calls)
        assert took <= BOUND_SECONDS
        assert (await started.names())["users"]["endpoints"] == 1  # they are all at one address
        assert fake.counted()["DescribeTasks"] >= tasks // TASKS_OF_EACH
        print(f"{tasks} tasks: read whole in {took:.1f} s with {calls} calls")
        if changes:
            fake.state.put("prod", "users", *[("127.0.0.1", ports["later"])] * TASKS_OF_EACH)
            changed = loop.time()
            assert await seen.until_answered_by("later", BOUND_SECONDS), started.agent.tail()
            print(f"a change was used after {loop.time() - changed:.1f} s")
        await started.no_nacks()
    at = [each for each, _ in fake.calls]
    print(f"at most {busiest(at)} calls in a second; {seen.answers.total()} requests, {seen.failed.total()} failed")
    assert not seen.failed
    assert set(seen.answers) == {"files", "ecs", *(["later"] if changes else [])}
    assert busiest(at) <= MOST_A_SECOND


async def test_a_thousand_tasks_of_an_ecs_that_throttles_are_read_while_names_are_served(credentials: None) -> None:
    await synced(1000, changes=False)


@pytest.mark.soak
async def test_five_thousand_tasks_of_an_ecs_that_throttles_are_read_within_a_minute(
    credentials: None,
) -> None:
    await synced(5000, changes=True)
