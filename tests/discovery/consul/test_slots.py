import asyncio

import pytest

from discovery.consul.slots import SHORT_WAIT_SECONDS, Slots


async def test_the_whole_wait_is_granted_while_nobody_queues() -> None:
    slots = Slots(1)
    assert await slots.take()
    assert slots.wait_seconds(25.0) == 25.0


async def test_waits_are_short_while_somebody_queues_and_the_slot_goes_to_the_next() -> None:
    slots = Slots(1)
    assert await slots.take()
    async with asyncio.TaskGroup() as group:
        second = group.create_task(slots.take())
        await asyncio.sleep(0)
        assert slots.wait_seconds(25.0) == SHORT_WAIT_SECONDS
        with slots.held(25.0):
            pass
        assert await second
    assert slots.wait_seconds(25.0) == 25.0


async def test_a_name_that_does_not_exist_gets_a_slot_only_while_half_are_free() -> None:
    slots = Slots(4)
    assert [await slots.borrow() for _ in range(3)] == [True, True, False]
    assert await slots.take()
    assert await slots.take()


async def test_a_failed_query_gives_its_slot_back_at_once() -> None:
    slots = Slots(2)
    assert await slots.borrow()
    with pytest.raises(ValueError, match="no"), slots.held(25.0):
        raise ValueError("no")
    assert await slots.borrow()


async def test_a_cancelled_query_keeps_its_slot_until_consul_gives_it_up() -> None:
    slots = Slots(1)
    assert await slots.take()
    with pytest.raises(asyncio.CancelledError), slots.held(0.02):
        raise asyncio.CancelledError
    assert not await slots.borrow()
    assert await slots.take()
    slots.close()
