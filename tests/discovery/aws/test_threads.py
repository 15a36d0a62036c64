from __future__ import annotations

import asyncio
import threading

import pytest

from discovery.aws.threads import Threads


def ours() -> int:
    return sum(thread.name == "aws" for thread in threading.enumerate())


async def test_results_and_errors_come_back_and_threads_are_few_and_end() -> None:
    threads = Threads(2, lambda _: None, lambda _: None)
    before = ours()
    assert await asyncio.wait_for(threads.run(lambda: 1), 10) == 1
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(threads.run(threading.get_ident)) for _ in range(20)]
    assert len({task.result() for task in tasks}) <= 2
    assert ours() - before <= 2
    threads.close()
    async with asyncio.timeout(10):
        while ours() > before:  # noqa: ASYNC110 - a thread's end has no event
            await asyncio.sleep(0.001)


async def test_who_is_cancelled_while_it_waits_is_never_run_and_while_it_runs_is_interrupted() -> None:
    interrupted, started, may_end = list[int](), threading.Event(), threading.Event()

    def interrupt(thread: int) -> None:
        interrupted.append(thread)
        may_end.set()

    def work() -> int:
        started.set()
        may_end.wait(10)
        return threading.get_ident()

    threads, ran = Threads(1, interrupt, lambda _: None), list[int]()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(threads.run(work))
        waiting = group.create_task(threads.run(lambda: ran.append(1)))
        await asyncio.to_thread(started.wait, 10)
        waiting.cancel()
        await asyncio.sleep(0)
        running.cancel()
    assert len(interrupted) == 1
    assert await threads.run(threading.get_ident) == interrupted[0]
    assert ran == []
    threads.close()


async def test_closing_interrupts_what_runs() -> None:
    started, may_end = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        may_end.wait(10)

    threads = Threads(1, lambda _: may_end.set(), lambda _: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(threads.run(work))
        await asyncio.to_thread(started.wait, 10)
        threads.close()
    assert may_end.is_set()
