"""How often a platform that is down is asked, and how soon one that is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from discovery.retries import Retries
from tests.virtual_time import virtual


def _names(retries: Retries, count: int, retried: list[float], seconds: float = 0.1) -> list[Callable[[], None]]:
    loop = asyncio.get_running_loop()

    def name(_number: int) -> Callable[[], None]:
        return lambda: retried.append(loop.time())

    made = [name(number) for number in range(count)]
    for each in made:
        retries.later(each, seconds)
    return made


@virtual
async def test_a_few_names_wait_as_their_back_off_says() -> None:
    retried: list[float] = []
    _names(Retries(asyncio.get_running_loop()), 3, retried)
    await asyncio.sleep(0.2)
    assert retried == [0.1, 0.1, 0.1]


@virtual
async def test_ten_thousand_names_ask_a_hundred_times_a_second() -> None:
    retried: list[float] = []
    _names(Retries(asyncio.get_running_loop()), 10_000, retried)
    await asyncio.sleep(50)
    assert 4_900 <= len(retried) <= 5_100
    await asyncio.sleep(60)
    assert len(retried) == 10_000


@virtual
async def test_when_one_is_answered_the_others_follow_within_seconds() -> None:
    retried: list[float] = []
    retries = Retries(asyncio.get_running_loop())
    _names(retries, 10_000, retried)
    await asyncio.sleep(1)
    before = len(retried)
    retries.answered()
    await asyncio.sleep(5)
    assert 4_900 <= len(retried) - before <= 5_600
    await asyncio.sleep(6)
    assert len(retried) == 10_000


@virtual
async def test_names_that_fail_for_reasons_of_their_own_are_not_hurried_by_others() -> None:
    retried: list[float] = []
    retries = Retries(asyncio.get_running_loop())
    _names(retries, 5, retried, seconds=5.0)
    for _ in range(10):
        await asyncio.sleep(0.1)
        retries.answered()
    assert retried == []


@virtual
async def test_what_is_cancelled_is_not_retried_and_what_is_asked_twice_is_retried_once() -> None:
    retried: list[float] = []
    retries = Retries(asyncio.get_running_loop())
    first, second = _names(retries, 2, retried)
    retries.cancel(first)
    retries.later(second, 0.3)
    await asyncio.sleep(1)
    assert retried == [0.3]
