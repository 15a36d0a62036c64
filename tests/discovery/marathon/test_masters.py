from __future__ import annotations

import pytest

from discovery.marathon.masters import Elsewhere, Masters
from discovery.source import Misconfigured, Unavailable

ADDRESSES = ("http://m1:8080", "http://m2:8080", "https://m3/marathon")


class Question:
    def __init__(self, **answers: Exception | str) -> None:
        self.asked: list[str] = []
        self._answers = answers

    async def __call__(self, master: str) -> str:
        name = master.partition("//")[2][:2]
        self.asked.append(name)
        answer = self._answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_the_next_is_asked_when_one_fails_and_stays_the_first() -> None:
    masters = Masters(ADDRESSES)
    question = Question(m1=Unavailable("m1 is down"), m2="yes", m3="yes")
    assert [await masters.ask(question), await masters.ask(question)] == ["yes", "yes"]
    assert question.asked == ["m1", "m2", "m2"]


async def test_when_none_answers_each_says_why_in_the_same_order_whoever_was_first() -> None:
    masters = Masters(ADDRESSES)
    question = Question(m1=Unavailable("one"), m2=Unavailable("two"), m3=Unavailable("three"))
    for _ in range(2):
        with pytest.raises(Unavailable, match="one; two; three"):
            await masters.ask(question)
        masters.turn()
    assert question.asked == ["m1", "m2", "m3", "m2", "m3", "m1"]


async def test_a_refusal_is_not_taken_to_the_next() -> None:
    question = Question(m1=Misconfigured("no"), m2="yes")
    with pytest.raises(Misconfigured):
        await Masters(ADDRESSES).ask(question)
    assert question.asked == ["m1"]


async def test_who_is_sent_to_another_of_them_goes_there() -> None:
    question = Question(m1=Elsewhere("m1", "https://m3/marathon/v2/events"), m2="two", m3="three")
    assert await Masters(ADDRESSES).ask(question) == "three"
    assert question.asked == ["m1", "m3"]


@pytest.mark.parametrize(
    "location", ["http://m9:8080/v2/events", "http://m2:8081/v2/events", "/v2/events", "http://[", ""]
)
async def test_who_is_sent_to_a_stranger_does_not_go_there(location: str) -> None:
    question = Question(m1=Elsewhere("m1", location), m2=Unavailable("two"), m3=Unavailable("three"))
    with pytest.raises(Unavailable, match="none of `addresses` that answers; two; three"):
        await Masters(ADDRESSES).ask(question)
    assert question.asked == ["m1", "m2", "m3"]


async def test_masters_that_send_to_each_other_are_asked_once_each() -> None:
    question = Question(m1=Elsewhere("m1", "http://m2:8080/v2/apps"), m2=Elsewhere("m2", "http://m1:8080/v2/apps"))
    with pytest.raises(Unavailable, match=r"m1 sends us to .*; m2 sends us to "):
        await Masters(ADDRESSES[:2]).ask(question)


async def test_turning_comes_round() -> None:
    masters, question = Masters(ADDRESSES), Question(m1="1", m2="2", m3="3")
    for _ in range(3):
        masters.turn()
        await masters.ask(question)
    assert question.asked == ["m2", "m3", "m1"]
