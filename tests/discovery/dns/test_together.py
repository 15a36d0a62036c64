import asyncio

import pytest

from discovery.dns.together import together
from discovery.source import Misconfigured, Unavailable


async def told(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def failing(error: Exception) -> int:
    raise error


async def test_results_come_in_the_order_of_the_questions() -> None:
    assert await together(told(value) for value in (3, 1, 2)) == [3, 1, 2]
    assert await together([]) == []


@pytest.mark.parametrize("error", [Unavailable("down"), Misconfigured("wrong")])
async def test_what_a_source_may_raise_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        await together([told(1), failing(error)])


async def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(ExceptionGroup):
        await together([failing(Unavailable("down")), failing(ZeroDivisionError())])
