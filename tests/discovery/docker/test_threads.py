import asyncio
import threading

import pytest

from discovery.docker.threads import Threads


async def test_results_and_errors_come_back() -> None:
    threads = Threads()
    assert await threads.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert await threads.ended(5)


async def test_a_call_that_hangs_holds_up_no_other_and_is_left_by_cancelling() -> None:
    threads, release = Threads(), threading.Event()
    async with asyncio.TaskGroup() as group:
        hanging = [group.create_task(threads.run(release.wait)) for _ in range(50)]
        assert await threads.run(lambda: 7) == 7
        for task in hanging:
            task.cancel()
    assert not await threads.ended(0)
    release.set()
    assert await threads.ended(5)


async def test_threads_do_not_keep_the_process() -> None:
    assert await Threads().run(lambda: threading.current_thread().daemon)
