"""Whatever a source does: errors, silence, lies, lost events, streams that end."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from discovery.address import Bound, Known, State
from discovery.source import Misconfigured, Unavailable
from tests.discovery.observation import USERS, observing, platform, up
from tests.fakes.memory import Platform
from tests.virtual_time import VirtualLoop, settle

FAILURES = ("fail", "misconfigured", "bug")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["state", "lose", "lie", "fail", "misconfigured", "bug", "silence", "recover", "end", "wait"]),
        st.frozensets(st.integers(1, 8)),
        st.floats(0, 10),
    ),
    max_size=30,
)


async def _play(steps: list[tuple[str, frozenset[int], float]]) -> None:
    source = platform(1, 2, 3, 4)
    async with observing(source) as seen:
        for action, numbers, seconds in steps:
            is_watched = source.open > 0
            _act(source, action, up(*numbers))
            before, told = seen.state, len(seen.changes)
            await settle()
            if action in FAILURES and isinstance(before, Known):
                assert seen.known.addr == before.addr
                # Between the end of a stream and the next one nobody can have heard of it yet.
                assert seen.known.held or not is_watched
            assert len(seen.changes) - told <= 2
            await asyncio.sleep(seconds)
        source.recover()
        source.silent = False
        await asyncio.sleep(2 * 33 + 5 + 2 + 0.1)
        assert (seen.known.addr, seen.known.held) == (source.truth[USERS], None)
        assert source.open == 1
    assert source.open == 0
    _check(seen.changes)


def _act(source: Platform, action: str, addr: Bound) -> None:
    match action:
        case "state":
            source.state(USERS, addr)
        case "lose":
            source.truth[USERS] = addr
        case "lie":
            source.say(USERS, addr)
        case "fail":
            source.fail(Unavailable("no"))
        case "misconfigured":
            source.fail(Misconfigured("never"))
        case "bug":
            source.fail(KeyError("bug"))
        case "silence":
            source.silent = True
        case "end":
            source.end_streams()
        case "recover":
            source.recover()
            source.silent = False


def _check(changes: list[tuple[float, State]]) -> None:
    """What is known is never unknown again, and a held state never has fewer endpoints than the truth before it."""
    truth: Bound | None = None
    for _, state in changes:
        assert truth is None or isinstance(state, Known)
        if isinstance(state, Known) and isinstance(state.addr, Bound):
            if state.held is None:
                truth = state.addr
            elif truth is not None:
                assert set(truth.endpoints) <= set(state.addr.endpoints)


@hypothesis_settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_a_source_does_nothing_shrinks_by_an_error_and_the_truth_wins(
    steps: list[tuple[str, frozenset[int], float]],
) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_play(steps))
