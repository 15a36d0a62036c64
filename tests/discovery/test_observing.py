from __future__ import annotations

import asyncio
import itertools
import logging

import pytest

from discovery.address import Addr, Bound, Endpoint, Failed, Known, Neg, Pending, State
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Misconfigured, Publish, Unavailable
from tests.discovery.observation import USERS, observing, platform, up
from tests.virtual_time import settle, virtual


@virtual
async def test_a_name_is_pending_until_the_first_answer() -> None:
    async with observing(platform(1)) as seen:
        assert seen.state == Pending()
        await settle()
        assert seen.known.addr == up(1)
        assert [state for _, state in seen.changes] == [seen.state]


@virtual
async def test_errors_before_the_first_answer_keep_it_pending_with_the_reason() -> None:
    source = platform(1)
    source.fail(Unavailable("connection refused"))
    async with observing(source) as seen:
        await asyncio.sleep(1)
        assert seen.state == Pending("connection refused")
        source.recover()
        await asyncio.sleep(5)
        assert seen.known.addr == up(1)


@virtual
async def test_no_answer_within_the_bind_timeout_is_failed_with_the_last_error_and_an_answer_makes_it_known() -> None:
    source = platform(1)
    source.fail(Unavailable("connection refused"))
    async with observing(source) as seen:
        await asyncio.sleep(2.001)
        assert seen.state == Failed("no answer within 2 s: connection refused")
        await asyncio.sleep(100)
        assert len(seen.changes) == 1
        source.recover()
        await asyncio.sleep(6)
        assert seen.known.addr == up(1)


@virtual
async def test_a_silent_platform_is_failed_too() -> None:
    source = platform(1)
    source.silent = True
    async with observing(source) as seen:
        await asyncio.sleep(2.001)
        assert seen.state == Failed("no answer within 2 s")


@virtual
async def test_misconfigured_before_any_answer_is_failed_at_once() -> None:
    source = platform(1)
    source.fail(Misconfigured("token refused"))
    async with observing(source) as seen:
        await settle()
        assert seen.state == Failed("token refused")


@virtual
async def test_an_error_never_shrinks_what_is_known_and_recovery_clears_the_hold() -> None:
    source = platform(1, 2)
    async with observing(source) as seen:
        await settle()
        source.fail(Unavailable("connection reset"))
        await asyncio.sleep(60)
        assert seen.known.addr == up(1, 2)
        assert seen.held == "connection reset"
        assert seen.known.confirmed_at < 1001
        source.recover()
        await asyncio.sleep(6)
        assert (seen.known.addr, seen.known.held) == (up(1, 2), None)
        assert seen.known.since < 1001
        assert seen.known.confirmed_at >= 1060
        assert len(seen.changes) == 3


@virtual
async def test_misconfigured_after_an_answer_is_held_like_any_error() -> None:
    source = platform(1)
    async with observing(source) as seen:
        await settle()
        source.fail(Misconfigured("token expired"))
        await settle()
        assert (seen.known.addr, seen.held) == (up(1), "token expired")


@virtual
async def test_retries_back_off_with_jitter_from_a_tenth_of_a_second_to_five() -> None:
    source = platform(1)
    source.fail(Unavailable("no"))
    async with observing(source, Settings(resync=0)):
        await asyncio.sleep(100)
        times = [at for at, _ in source.asked]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert 0.05 <= gaps[0] <= 0.1001
        assert 0.1 <= gaps[1] <= 0.2001
        assert all(2.5 <= gap <= 5.001 for gap in gaps[7:])
        assert len({round(gap, 6) for gap in gaps[7:]}) > 5


@virtual
async def test_an_attempt_that_answered_and_lived_starts_the_back_off_anew() -> None:
    source = platform(1)
    source.fail(Unavailable("no"))
    async with observing(source, Settings(resync=0)):
        await asyncio.sleep(60)
        source.recover()
        await asyncio.sleep(30)
        before = len(source.asked)
        source.fail(Unavailable("no"))
        await settle()
        failed_at = asyncio.get_running_loop().time()
        await asyncio.sleep(0.2)
        assert source.asked[before][0] - failed_at <= 0.1001


class _ReturnsAtOnce:
    def __init__(self, answers: bool) -> None:
        self.answers, self.asked = answers, 0

    async def observe(self, name: Path, publish: Publish) -> None:
        self.asked += 1
        if self.answers:
            publish(up(1))


@virtual
async def test_a_source_that_answers_and_returns_at_once_does_not_spin() -> None:
    source = _ReturnsAtOnce(answers=True)
    async with observing(source) as seen:
        await asyncio.sleep(10)
        assert (seen.known.addr, seen.known.held) == (up(1), None)
        assert source.asked <= 101


@virtual
async def test_a_stream_that_ends_without_an_answer_is_an_error() -> None:
    source = _ReturnsAtOnce(answers=False)
    async with observing(source) as seen:
        await asyncio.sleep(10)
        assert seen.state == Failed("no answer within 2 s: the stream ended before its first answer")
        assert source.asked <= 10


@virtual
async def test_a_stream_that_ends_is_observed_again_without_a_word() -> None:
    source = platform(1)
    async with observing(source) as seen:
        await asyncio.sleep(1)
        source.end_streams()
        await asyncio.sleep(0.2)
        assert len(source.asked) == 2
        assert len(seen.changes) == 1


@virtual
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(up(1, 2, 3, 4), up(1), id="more-than-half"),
        pytest.param(up(1), up(), id="the-only-one"),
        pytest.param(up(1, 2), Neg(), id="the-name"),
    ],
)
async def test_a_mass_loss_is_held_until_a_second_full_read_confirms_it(before: Bound, after: Addr) -> None:
    source = platform()
    source.truth[USERS] = before
    async with observing(source) as seen:
        await settle()
        source.state(USERS, after)
        await asyncio.sleep(1.9)
        assert seen.known.addr == before
        assert seen.held.endswith("waiting 2 s for a second full read")
        assert len(source.asked) == 1
        await asyncio.sleep(0.2)
        assert (seen.known.addr, seen.known.held) == (after, None)
        assert len(source.asked) == 2
        await settle()
        assert source.open == 1


@virtual
async def test_the_hold_says_how_much_vanished() -> None:
    source = platform(1, 2, 3, 4)
    async with observing(source) as seen:
        await settle()
        source.state(USERS, up(1))
        await settle()
        assert seen.held == "3 of 4 endpoints vanished at once; waiting 2 s for a second full read"
        source.state(USERS, Neg())
        await settle()
        assert seen.held == "the name vanished; waiting 2 s for a second full read"


@virtual
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(up(1, 2, 3, 4), up(5, 6, 7, 8), id="all-replaced"),
        pytest.param(up(1, 2, 3, 4), up(1, 2), id="half"),
        pytest.param(up(1, 2), up(1), id="one-of-two"),
        pytest.param(up(), Neg(), id="from-none-to-neg"),
        pytest.param(up(), up(1, 2), id="growth"),
    ],
)
async def test_what_is_no_mass_loss_is_believed_at_once(before: Bound, after: Addr) -> None:
    source = platform()
    source.truth[USERS] = before
    async with observing(source) as seen:
        await settle()
        source.state(USERS, after)
        await settle()
        assert (seen.known.addr, seen.known.held) == (after, None)


@virtual
async def test_endpoints_that_are_new_in_a_mass_loss_serve_at_once() -> None:
    source = platform(1, 2, 3, 4)
    async with observing(source) as seen:
        await settle()
        source.state(USERS, up(9))
        await settle()
        assert seen.known.addr == up(1, 2, 3, 4, 9)
        await asyncio.sleep(2.1)
        assert seen.known.addr == up(9)


@virtual
async def test_a_loss_that_heals_by_itself_is_forgotten() -> None:
    source = platform(1, 2, 3, 4)
    async with observing(source) as seen:
        await settle()
        source.state(USERS, up())
        await asyncio.sleep(1)
        source.state(USERS, up(1, 2, 3, 4))
        await settle()
        assert (seen.known.addr, seen.known.held) == (up(1, 2, 3, 4), None)
        await asyncio.sleep(3)
        assert len(source.asked) == 1


@virtual
async def test_an_event_that_lied_is_undone_by_the_second_full_read() -> None:
    source = platform(1, 2, 3, 4)
    async with observing(source) as seen:
        await settle()
        source.say(USERS, up())
        await asyncio.sleep(2.1)
        assert (seen.known.addr, seen.known.held) == (up(1, 2, 3, 4), None)
        assert {state.addr for _, state in seen.changes if isinstance(state, Known)} == {up(1, 2, 3, 4)}


@virtual
async def test_an_error_between_the_two_reads_begins_the_suspicion_anew() -> None:
    source = platform(1, 2, 3, 4)
    async with observing(source) as seen:
        await settle()
        source.state(USERS, up())
        await asyncio.sleep(1.5)
        source.fail(Unavailable("leader election"))
        await settle()
        assert seen.held == "leader election"
        source.recover()
        await asyncio.sleep(1)
        assert seen.known.addr == up(1, 2, 3, 4)
        await asyncio.sleep(2)
        assert (seen.known.addr, seen.known.held) == (up(), None)


@virtual
async def test_a_full_read_that_comes_too_soon_confirms_no_loss() -> None:
    source = platform(1, 2, 3, 4)
    async with observing(source) as seen:
        await asyncio.sleep(1)
        source.state(USERS, up())
        source.end_streams()
        await asyncio.sleep(1.5)
        assert len(source.asked) == 2
        assert seen.known.addr == up(1, 2, 3, 4)
        await asyncio.sleep(0.6)
        assert (seen.known.addr, seen.known.held) == (up(), None)


class _HasLastWords:
    def __init__(self) -> None:
        self.asked = 0

    async def observe(self, name: Path, publish: Publish) -> None:
        self.asked += 1
        publish(up(1, 2))
        try:
            await asyncio.sleep(3600)
        finally:
            publish(up(1))


@virtual
async def test_what_an_observation_says_after_it_was_let_go_of_does_not_count() -> None:
    source = _HasLastWords()
    async with observing(source) as seen:
        await asyncio.sleep(40)
        assert source.asked == 2
        assert seen.known.addr == up(1, 2)
    assert len(seen.changes) == 1


@virtual
async def test_confirm_after_zero_believes_everything() -> None:
    source = platform(1, 2)
    async with observing(source, Settings(confirm_after=0)) as seen:
        await settle()
        source.state(USERS, Neg())
        await settle()
        assert seen.known.addr == Neg()


@virtual
async def test_a_restored_state_serves_until_it_is_confirmed() -> None:
    source = platform(1, 2)
    source.fail(Unavailable("no route"))
    restored = Known(up(1, 2), since=5, confirmed_at=6)
    async with observing(source, restored=restored) as seen:
        assert seen.state == Known(up(1, 2), 5, 6, "restored from disk, not confirmed yet")
        await asyncio.sleep(10)
        assert seen.state == Known(up(1, 2), 5, 6, "restored from disk, not confirmed: no route")
        source.recover()
        await asyncio.sleep(6)
        assert (seen.known.since, seen.known.held) == (5, None)


@virtual
async def test_a_restored_state_that_meets_a_smaller_first_truth_is_held_too() -> None:
    source = platform()
    async with observing(source, restored=Known(up(1, 2, 3), since=5, confirmed_at=6)) as seen:
        await asyncio.sleep(1)
        assert seen.known.addr == up(1, 2, 3)
        assert seen.held.startswith("3 of 3 endpoints vanished")
        await asyncio.sleep(2)
        assert (seen.known.addr, seen.known.held) == (up(), None)


@virtual
async def test_a_lost_event_is_found_by_the_next_full_read_and_there_is_no_gap() -> None:
    source = platform(1, 2)
    async with observing(source) as seen:
        await settle()
        source.truth[USERS] = up(1, 2, 3)
        await asyncio.sleep(33.1)
        assert seen.known.addr == up(1, 2, 3)
        source.say(USERS, up(1, 2))
        await settle()
        assert seen.known.addr == up(1, 2)
        assert source.open == 1


@virtual
async def test_an_equal_read_again_confirms_and_tells_nobody() -> None:
    source = platform(1)
    async with observing(source) as seen:
        await asyncio.sleep(100)
        assert len(seen.changes) == 1
        assert seen.known.since == pytest.approx(1000, abs=0.001)
        assert seen.known.confirmed_at > 1060
        assert 3 <= len(source.asked) - 1 <= 5


@virtual
async def test_resync_zero_never_reads_again() -> None:
    source = platform(1)
    async with observing(source, Settings(resync=0)):
        await asyncio.sleep(10_000)
        assert len(source.asked) == 1


@virtual
async def test_a_stream_that_fell_silent_is_noticed_by_the_full_read_that_has_no_answer() -> None:
    source = platform(1)
    async with observing(source) as seen:
        await settle()
        source.silent = True
        await asyncio.sleep(70)
        assert (seen.known.addr, seen.held) == (up(1), "a full read has had no answer for 30 s")
        source.silent = False
        source.truth[USERS] = up(1, 2)
        await asyncio.sleep(66)
        assert (seen.known.addr, seen.known.held) == (up(1, 2), None)
        await settle()
        assert source.open == 1


@virtual
async def test_a_full_read_that_fails_lets_go_of_the_older_stream_and_is_tried_again() -> None:
    source = platform(1)
    async with observing(source) as seen:
        await settle()
        source.error = Unavailable("no more")
        await asyncio.sleep(40)
        assert (seen.known.addr, seen.held) == (up(1), "no more")
        source.recover()
        await asyncio.sleep(6)
        assert seen.known.held is None
        assert source.open == 1


class _Buggy:
    async def observe(self, name: Path, publish: Publish) -> None:
        publish(up(1))
        raise KeyError("ServiceAddress")


@virtual
async def test_a_bug_in_a_source_is_logged_once_with_its_traceback_and_held(caplog: pytest.LogCaptureFixture) -> None:
    async with observing(_Buggy()) as seen:
        await asyncio.sleep(30)
        assert (seen.known.addr, seen.held) == (up(1), "a bug in the source: KeyError('ServiceAddress')")
    assert len([record for record in caplog.records if record.exc_info]) == 1


class _PublishesAList:
    async def observe(self, name: Path, publish: Publish) -> None:
        publish([Endpoint("10.0.0.1", 80)])  # type: ignore[arg-type]


@virtual
async def test_what_is_no_address_is_refused() -> None:
    async with observing(_PublishesAList()) as seen:
        await asyncio.sleep(3)
        assert isinstance(seen.state, Failed)
        assert "publishes Bound or Neg, not list" in seen.state.reason


@virtual
async def test_only_transitions_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    source = platform(1)
    async with observing(source):
        await settle()
        source.fail(Unavailable("no"))
        await asyncio.sleep(60)
        source.recover()
        await asyncio.sleep(10)
    assert [(record.levelname, record.getMessage()) for record in caplog.records if "tieline" in record.name] == [
        ("WARNING", "observation fails"),
        ("INFO", "observation recovered"),
    ]


@virtual
async def test_a_listener_that_fails_ends_no_observation(caplog: pytest.LogCaptureFixture) -> None:
    source = platform(1)
    async with observing(source) as seen:

        def fails(_: Path, __: State) -> None:
            raise RuntimeError("listener")

        seen.observatory.on_change = fails
        await settle()
        assert (seen.known.addr, seen.known.held) == (up(1), None)
        source.state(USERS, up(1, 2))
        await settle()
        assert seen.known.addr == up(1, 2)
    assert "a change of state was not taken" in caplog.messages
