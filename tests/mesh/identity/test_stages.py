from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.identity.stages import Stage, Step, TooEarly

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPREAD = 6 * HOUR


def first() -> Stage:
    return Stage(1, (1,), START)


def test_a_rotation_goes_by_three_steps() -> None:
    stage = first().issued(24 * HOUR)
    stage = stage.step("prepare", START, SPREAD)
    assert (stage.signing, stage.trusted, stage.next, stage.due(SPREAD)) == (1, (1, 2), "activate", START + SPREAD)
    stage = stage.step("activate", START + SPREAD, SPREAD)
    assert (stage.signing, stage.trusted, stage.next) == (2, (1, 2), "retire")
    assert stage.due(SPREAD) == START + SPREAD + 24 * HOUR
    stage = stage.step("retire", stage.due(SPREAD), SPREAD)
    assert (stage.signing, stage.trusted, stage.next) == (2, (2,), "prepare")


@pytest.mark.parametrize(
    ("done", "wrong", "why"),
    [
        ([], "activate", "activate is not the next step, prepare is: one root is trusted, and there is no other"),
        ([], "retire", "retire is not the next step, prepare is: "),
        (["prepare"], "retire", "retire is not the next step, activate is: the new root is trusted and does not"),
        (["prepare"], "prepare", "prepare is not the next step, activate is: "),
        (["prepare", "activate"], "prepare", "prepare is not the next step, retire is: the new root signs and the old"),
    ],
)
def test_the_wrong_order_is_refused(done: list[Step], wrong: Step, why: str) -> None:
    stage, now = first(), START
    for step in done:
        now = stage.due()
        stage = stage.step(step, now)
    with pytest.raises(TooEarly) as caught:
        stage.step(wrong, now + 1000 * HOUR)
    assert str(caught.value).startswith(why)


def test_a_step_that_comes_too_early_is_refused_and_says_when_it_is_time() -> None:
    stage = first().issued(24 * HOUR).step("prepare", START, SPREAD)
    with pytest.raises(TooEarly, match="activate is due at 2026-01-01 06:00 UTC: before, not everybody may trust"):
        stage.step("activate", START + SPREAD - timedelta(seconds=1), SPREAD)


_DO = st.sampled_from(["issue", "prepare", "activate", "retire"])


@given(st.lists(st.tuples(_DO, st.integers(0, 40), st.integers(1, 48)), max_size=40))
def test_whatever_is_tried_nobody_ever_meets_what_it_does_not_trust(tries: list[tuple[str, int, int]]) -> None:
    """A host takes as long as SPREAD to have a new bundle, and a leaf is met until it expires."""
    stage, now = first(), START
    bundles = [(START - SPREAD, stage.trusted)]
    leaves: list[tuple[int, datetime]] = []
    for do, wait, lives in tries:
        now += wait * HOUR
        if do == "issue":
            leaves.append((stage.signing, now + lives * HOUR))
            stage = stage.issued(lives * HOUR)
        else:
            try:
                stage = stage.step(do, now, SPREAD)  # type: ignore[arg-type]
            except TooEarly:
                continue
            bundles.append((now, stage.trusted))
        met = {by for by, until in leaves if until > now}
        everywhere = max(at for at, _ in bundles if at <= now - SPREAD)
        assert all(met <= set(trusted) for at, trusted in bundles if at >= everywhere)
