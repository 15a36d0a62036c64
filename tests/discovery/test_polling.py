from __future__ import annotations

import asyncio

import pytest

from discovery.address import Addr, Bound, Neg
from discovery.path import Path
from discovery.polling import Polling
from discovery.source import Unavailable
from tests.discovery.contract import watching
from tests.virtual_time import virtual


class _Answers:
    def __init__(self, *answers: Addr | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[float] = []

    async def __call__(self, name: Path) -> Addr:
        self.asked.append(asyncio.get_running_loop().time())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@virtual
async def test_it_asks_at_once_and_then_every_so_often() -> None:
    fetch = _Answers(Neg(), Bound())
    async with watching(Polling(fetch, 5), Path(("users",))) as watch:
        await asyncio.sleep(12)
        assert watch.published == [Neg(), Bound(), Bound()]
        assert fetch.asked == [0, 5, 10]


@virtual
async def test_an_error_ends_the_observation() -> None:
    async with watching(Polling(_Answers(Neg(), Unavailable("no")), 5), Path(("users",))) as watch:
        await asyncio.sleep(6)
        assert str(watch.error) == "no"


def test_no_pause_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Polling(_Answers(Neg()), 0)
