import asyncio

from discovery.docker.questions import Questions


async def test_several_questions_about_one_container_are_one_until_it_is_asked() -> None:
    questions = Questions()
    questions.ask("a")
    questions.ask("a")
    assert await questions.next() == "a"
    assert questions.answered("a")
    assert "a" not in questions


async def test_what_happens_while_it_is_asked_spoils_the_answer() -> None:
    questions = Questions()
    questions.ask("a")
    assert await questions.next() == "a"
    questions.spoil("a")
    assert not questions.answered("a")
    assert await questions.next() == "a"
    questions.ask("a")
    assert not questions.answered("a")
    assert await questions.next() == "a"
    assert questions.answered("a")


async def test_spoiling_what_nobody_asked_asks_nothing() -> None:
    questions = Questions()
    questions.spoil("a")
    assert "a" not in questions


async def test_waiting_for_answers_waits_for_those_alone() -> None:
    questions = Questions()
    questions.ask("a")
    questions.ask("b")
    await questions.all_answered(["c"])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(questions.all_answered(["a"]))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert questions.answered(await questions.next())
        await waiting
    assert "b" in questions
