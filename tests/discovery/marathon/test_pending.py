from __future__ import annotations

import asyncio

from discovery.marathon.pending import Pending
from discovery.path import Path
from tests.virtual_time import settle

A, B = Path(("a",)), Path(("b",))


async def test_an_app_waits_once_however_often_it_changes_and_the_oldest_comes_first() -> None:
    pending = Pending()
    for path in (A, B, A, A):
        pending.add(path)
    assert [await pending.take(), await pending.take()] == [A, B]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pending.take())
        await settle()
        assert not task.done()
        task.cancel()


async def test_an_app_under_way_is_taken_again_only_when_it_is_done() -> None:
    pending = Pending()
    pending.add(A)
    await pending.take()
    pending.add(A)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pending.take())
        await settle()
        assert not task.done()
        pending.add(B)
        assert await task == B
        again = group.create_task(pending.take())
        await settle()
        assert not again.done()
        pending.done(A)
        assert await again == A
