from __future__ import annotations

import pytest

from mesh.cli.shift_watch import Counts, Judging, Verdict

GOOD, WAIT, BAD = Verdict.GOOD, Verdict.WAIT, Verdict.BAD
START = Counts(1000, 500)


def judged(*looks: tuple[float, int, int], least: int = 20, every: float = 30) -> list[Verdict]:
    """`looks`: seconds since the step, requests and failures since the one before."""
    judging, total = Judging(0.99, least, every, {"a": START}), START
    found = []
    for seconds, requests, failures in looks:
        total += Counts(requests, failures)
        found.append(judging.judge({"a": total}, seconds))
    return found


def test_a_step_is_good_when_its_time_is_over_and_enough_was_counted() -> None:
    assert judged((10, 50, 0), (20, 50, 0), (29, 0, 0), (31, 0, 0)) == [WAIT, WAIT, WAIT, GOOD]


def test_a_step_that_nobody_calls_is_waited_for() -> None:
    assert judged((10, 0, 0), (40, 19, 0), (3600, 0, 0), (3601, 1, 0)) == [WAIT, WAIT, WAIT, GOOD]


def test_nothing_needs_to_be_counted_if_none_is_asked_for() -> None:
    assert judged((10, 0, 0), (31, 0, 0), least=0) == [WAIT, GOOD]
    assert judged((1, 0, 0), (2, 0, 0), least=0, every=2) == [WAIT, GOOD]
    assert judged((2, 1, 1), least=0, every=2) == [BAD]


def test_requests_that_may_be_older_than_the_step_do_not_show_that_it_is_good() -> None:
    assert judged((9, 1000, 0), (12, 1000, 0), (40, 0, 0)) == [WAIT, WAIT, WAIT]


def test_failures_count_at_once() -> None:
    assert judged((2, 20, 1)) == [BAD]
    assert judged((2, 19, 19), (4, 1, 0)) == [WAIT, BAD]


def test_what_came_before_does_not_hide_failures_that_come_later() -> None:
    assert judged((10, 10_000, 0), (20, 100, 2)) == [WAIT, BAD]


def test_a_rate_at_the_limit_is_good() -> None:
    assert judged((20, 100, 1), (31, 0, 0)) == [WAIT, GOOD]


def test_a_control_plane_that_starts_anew_counts_from_0() -> None:
    judging = Judging(0.99, 20, 30, {"a": START})
    assert judging.judge({"a": Counts(30, 0)}, 20) is WAIT
    assert judging.judge({"a": Counts(40, 0)}, 31) is GOOD
    assert judging.all == Counts(40, 0)


def test_replicas_are_counted_apart_and_may_come_and_go() -> None:
    judging = Judging(0.99, 20, 30, {"a": START})
    assert judging.judge({"a": START, "b": Counts(500, 400)}, 20) is WAIT
    assert judging.judge({"b": Counts(510, 400)}, 22) is WAIT
    assert judging.judge({"a": START + Counts(9, 0), "b": Counts(510, 400)}, 24) is WAIT
    assert judging.all == Counts(19, 0)
    assert judging.judge({"b": Counts(511, 400)}, 31) is GOOD


@pytest.mark.parametrize(("counts", "success"), [(Counts(), None), (Counts(4, 1), 0.75), (Counts(3, 0), 1.0)])
def test_the_success_rate(counts: Counts, success: float | None) -> None:
    assert counts.success == success
