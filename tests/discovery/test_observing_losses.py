"""What flaps and what is lost: the other half of `test_observing`."""

from __future__ import annotations

import asyncio

import pytest

from discovery.address import Addr, Known, Neg
from discovery.observing import Settings
from discovery.source import Unavailable
from tests.discovery.observation import USERS, observing, platform, up
from tests.virtual_time import settle, virtual


@virtual
async def test_an_instance_that_flaps_ten_times_a_second_changes_nothing_after_its_first_loss() -> None:
    source = platform(1, 2, 3)
    async with observing(source) as seen:
        await settle()
        before = len(seen.changes)
        for tick in range(100):
            source.state(USERS, up(2, 3) if tick % 2 == 0 else up(1, 2, 3))
            await asyncio.sleep(0.1)
        assert [state.addr for _, state in seen.changes[before:] if isinstance(state, Known)] == [up(2, 3)]
        await asyncio.sleep(1)
        assert seen.known.addr == up(1, 2, 3)
        assert len(seen.changes) == before + 2


@virtual
async def test_steady_endpoints_are_told_of_at_once_beside_one_that_flaps() -> None:
    source = platform(1, 2, 3)
    async with observing(source) as seen:
        await settle()
        source.state(USERS, up(2, 3))
        source.state(USERS, up(1, 2, 3))
        source.state(USERS, up(1, 2, 3, 4))
        await settle()
        assert seen.known.addr == up(2, 3, 4)
        await asyncio.sleep(1.1)
        assert seen.known.addr == up(1, 2, 3, 4)


@virtual
async def test_without_damping_every_change_is_told() -> None:
    source = platform(1, 2, 3)
    async with observing(source, Settings(damping=0)) as seen:
        await settle()
        for tick in range(10):
            source.state(USERS, up(2, 3) if tick % 2 == 0 else up(1, 2, 3))
            await settle()
        assert len(seen.changes) == 11


PATIENT = Settings(last_resort=30)


@virtual
@pytest.mark.parametrize("after", [pytest.param(up(), id="no-endpoint"), pytest.param(Neg(), id="no-such-name")])
async def test_what_is_confirmed_to_be_lost_is_kept_as_a_last_resort_and_then_given_up(after: Addr) -> None:
    source = platform(1, 2)
    async with observing(source, PATIENT) as seen:
        await settle()
        source.state(USERS, after)
        await asyncio.sleep(1.9)
        assert seen.known.lost is None
        await asyncio.sleep(0.2)
        assert (seen.known.addr, seen.known.lost) == (up(1, 2), after)
        assert seen.held.endswith("vanished; kept for 30 s, for names that have nothing else")
        await asyncio.sleep(27.8)
        assert seen.known.lost == after
        await asyncio.sleep(0.3)
        assert (seen.known.addr, seen.known.lost, seen.known.held) == (after, None, None)


@virtual
async def test_a_source_that_lied_twice_and_tells_the_truth_again_is_believed_at_once() -> None:
    source = platform(1, 2)
    async with observing(source, PATIENT) as seen:
        await settle()
        source.state(USERS, Neg())
        await asyncio.sleep(20)
        source.state(USERS, up(2, 3))
        await settle()
        assert (seen.known.addr, seen.known.lost, seen.known.held) == (up(2, 3), None, None)
        await asyncio.sleep(60)
        assert seen.known.addr == up(2, 3)


@virtual
async def test_an_error_after_the_loss_was_confirmed_neither_prolongs_nor_shortens_the_last_resort() -> None:
    source = platform(1, 2)
    async with observing(source, PATIENT) as seen:
        await settle()
        source.state(USERS, Neg())
        await asyncio.sleep(5)
        source.fail(Unavailable("dark"))
        await asyncio.sleep(20)
        assert (seen.known.addr, seen.known.lost) == (up(1, 2), Neg())
        await asyncio.sleep(6)
        assert seen.known.addr == Neg()


@virtual
async def test_a_loss_of_more_than_half_is_no_case_for_a_last_resort() -> None:
    source = platform(1, 2, 3, 4)
    async with observing(source, PATIENT) as seen:
        await settle()
        source.state(USERS, up(1))
        await asyncio.sleep(2.1)
        assert (seen.known.addr, seen.known.lost) == (up(1), None)
