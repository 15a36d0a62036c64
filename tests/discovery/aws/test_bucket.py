from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from discovery.aws import bucket
from discovery.aws.bucket import Bucket
from tests.virtual_time import virtual


async def taken(paced: Bucket, times: int) -> list[float]:
    at = []
    for _ in range(times):
        turn = await paced.take()
        at.append(asyncio.get_running_loop().time())
        turn.over()
    return at


def most_in_a_second(times: Sequence[float]) -> int:
    return max(sum(begin <= at < begin + 1 for at in times) for begin in times)


@virtual
async def test_five_thousand_tasks_are_read_within_a_minute_and_never_more_than_five_calls_begin_in_a_second() -> None:
    times = await taken(Bucket(5.0), 102)
    assert most_in_a_second(times) == 5
    assert 20 < times[-1] - times[0] < 60


@virtual
async def test_who_has_been_quiet_may_ask_five_times_at_once() -> None:
    paced = Bucket(5.0)
    assert (await taken(paced, 5))[-1] == 0.0
    await asyncio.sleep(0.5)
    assert (await taken(paced, 1))[0] >= 1.0


@virtual
async def test_calls_that_take_different_times_to_arrive_do_not_come_closer() -> None:
    paced, arrived = Bucket(5.0), list[float]()

    async def ask(seconds: float) -> None:
        turn = await paced.take()
        await asyncio.sleep(seconds)
        arrived.append(asyncio.get_running_loop().time())
        turn.over()

    async with asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(ask(0.4 if number % 7 == 0 else 0.001))
    assert most_in_a_second(sorted(arrived)) == 5


@virtual
async def test_a_call_that_is_never_over_does_not_stop_the_others() -> None:
    paced = Bucket(1.0)
    for _ in range(3):
        await paced.take()
    assert asyncio.get_running_loop().time() < 4


@pytest.mark.parametrize("rate", [0.5, 1.0, 7.3, 100.0])
def test_any_rate_is_kept(rate: float) -> None:
    @virtual
    async def run() -> None:
        paced = Bucket(rate)
        span = paced.burst / rate
        times = await taken(paced, 5 * paced.burst + 1)
        assert max(sum(begin <= at < begin + span for at in times) for begin in times) == paced.burst
        assert times[-1] == pytest.approx(5 * span, rel=0.02)

    run()


@virtual
async def test_calls_begin_in_the_order_they_were_asked_for_and_who_is_cancelled_takes_nothing() -> None:
    paced, order = Bucket(1.0), list[int]()

    async def ask(number: int) -> None:
        (await paced.take()).over()
        order.append(number)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(number)) for number in range(6)]
        await asyncio.sleep(0.1)
        tasks[1].cancel()
        tasks[3].cancel()
    assert order == [0, 2, 4, 5]
    assert asyncio.get_running_loop().time() == pytest.approx(3, rel=0.02)


@virtual
async def test_throttling_lowers_the_pace_and_answers_bring_it_back() -> None:
    paced = Bucket(5.0)
    await taken(paced, 5)
    for _ in range(4):
        paced.throttled()  # together: they count once
    assert paced.pace == 0.7
    times = await taken(paced, 4)
    assert all(later - earlier >= 0.2 / 0.7 for earlier, later in itertools.pairwise(times))
    paced.throttled()
    assert paced.pace == pytest.approx(0.49)
    for _ in range(21):
        paced.answered()
    assert paced.pace == 1.0


@virtual
async def test_the_pace_never_becomes_nothing() -> None:
    paced = Bucket(5.0)
    for _ in range(100):
        paced.throttled()
        await asyncio.sleep(2)
    assert paced.pace == 1 / 32


def test_one_bucket_is_shared_by_all_of_a_key_while_anybody_holds_it() -> None:
    first = bucket.shared("1 eu-west-1 ecs", 5.0)
    assert bucket.shared("1 eu-west-1 ecs", 10.0) is first
    assert first.rate == 5.0
    assert bucket.shared("1 eu-west-1 ecs", 2.0) is first
    assert (first.rate, first.burst) == (2.0, 2)
    assert bucket.shared("2 eu-west-1 ecs", 5.0) is not first
    del first
    assert bucket.shared("1 eu-west-1 ecs", 10.0).rate == 10.0
