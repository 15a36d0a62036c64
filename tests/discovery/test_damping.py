"""What a flapping endpoint may cost, and that its steady neighbours pay nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Addr, Bound, Endpoint, Health, Neg, bound
from discovery.damping import Damping
from tests.discovery.observation import up

ONE, TWO, THREE = (Endpoint(f"10.0.0.{number}", 80) for number in (1, 2, 3))


class Told:
    """A source says one truth after the other; what is passed on, and when."""

    def __init__(self, first: Addr, seconds: float = 1.0) -> None:
        self.damping, self.read, self.published = Damping(seconds), first, first
        self.pushes: list[float] = []
        self.due: float | None = None

    def says(self, read: Addr, now: float) -> Addr:
        while self.due is not None and self.due <= now:
            self._pass(self.read, self.due)
        self.damping.heard(self.read, read, now)
        self.read = read
        self._pass(read, now)
        return self.published

    def _pass(self, read: Addr, now: float) -> None:
        addr, self.due = self.damping.passed(self.published, read, now)
        if addr != self.published:
            self.pushes.append(now)
            self.published = addr

    def waits(self) -> Addr:
        while self.due is not None:
            self._pass(self.read, self.due)
        return self.published


def test_a_loss_passes_at_once_and_a_return_when_it_has_lasted() -> None:
    told = Told(up(1, 2))
    assert told.says(up(2), 10.0) == up(2)
    assert told.says(up(1, 2), 10.1) == up(2)
    assert told.due == 11.0
    assert told.waits() == up(1, 2)


def test_a_new_endpoint_passes_at_once() -> None:
    told = Told(up(1))
    assert told.says(up(1, 2), 0.0) == up(1, 2)


def test_an_endpoint_that_flaps_ten_times_a_second_is_told_of_once_and_stays_out() -> None:
    told = Told(up(1, 2, 3))
    for tick in range(600):
        told.says(up(2, 3) if tick % 2 == 0 else up(1, 2, 3), tick / 10)
    assert told.pushes == [0.0]
    assert told.published == up(2, 3)
    assert told.waits() == up(1, 2, 3)


def test_one_that_drains_before_it_goes_each_time_is_told_of_twice() -> None:
    told = Told(bound([ONE, TWO]))
    draining = bound([replace(ONE, health=Health.DRAINING), TWO])
    for turn in range(50):
        told.says(draining, turn / 10)
        told.says(bound([TWO]), turn / 10 + 0.02)
        told.says(bound([ONE, TWO]), turn / 10 + 0.05)
    assert told.pushes == [0.0, 0.02]
    assert told.waits() == bound([ONE, TWO])


def test_a_steady_endpoint_is_told_of_at_once_beside_one_that_flaps() -> None:
    told = Told(up(1, 2))
    told.says(up(2), 0.0)
    told.says(up(1, 2), 0.1)
    assert told.says(up(1, 2, 3), 0.15) == up(2, 3)
    assert told.says(up(1, 3), 0.2) == up(3)


def test_unhealthy_and_draining_pass_at_once_and_health_when_it_lasts() -> None:
    told = Told(bound([ONE, TWO, THREE]))
    ill, draining = replace(ONE, health=Health.UNHEALTHY), replace(TWO, health=Health.DRAINING)
    assert told.says(bound([ill, draining, THREE]), 0.0) == bound([ill, draining, THREE])
    assert told.says(bound([ONE, draining, THREE]), 0.2) == bound([ill, draining, THREE])
    assert told.waits() == bound([ONE, draining, THREE])


def test_what_was_draining_may_go_at_once() -> None:
    told = Told(bound([ONE, TWO]))
    told.says(bound([ONE, replace(TWO, health=Health.DRAINING)]), 0.0)
    assert told.says(bound([ONE]), 0.1) == bound([ONE])


def test_a_weight_that_flaps_is_told_of_once_a_second() -> None:
    told = Told(bound([ONE]))
    for tick in range(50):
        told.says(bound([replace(ONE, weight=2.0 + tick % 2)]), tick / 10)
    assert told.pushes == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_an_endpoint_that_returns_where_nothing_else_serves_is_not_held_up() -> None:
    told = Told(up(1))
    assert told.says(up(2), 0.0) == up(2)
    assert told.says(up(1), 0.1) == up(1)
    assert told.due is None


def test_no_such_name_passes_at_once() -> None:
    told = Told(up(1))
    assert told.says(Neg(), 0.0) == Neg()


def test_what_lasted_is_forgotten() -> None:
    told = Told(up(1, 2))
    told.says(up(2), 0.0)
    told.says(up(2, 3), 1.5)
    assert not told.damping


TRUTHS = st.lists(st.sets(st.integers(1, 4)), min_size=1, max_size=40)


@given(TRUTHS, st.integers(1, 20))
def test_in_the_end_the_truth_is_told_and_no_dead_endpoint_ever_is(truths: list[set[int]], rate: int) -> None:
    told = Told(up(1, 2, 3, 4))
    for turn, numbers in enumerate(truths):
        said = told.says(up(*numbers), turn / rate)
        assert isinstance(said, Bound)
        assert set(said.endpoints) <= set(up(*numbers).endpoints)
    assert told.waits() == up(*truths[-1])


@given(st.lists(st.booleans(), max_size=200))
def test_one_endpoint_is_never_told_of_more_than_twice_in_a_second(ups: list[bool]) -> None:
    told = Told(up(1, 2))
    for tick, is_up in enumerate(ups):
        told.says(up(1, 2) if is_up else up(2), tick / 10)
    told.waits()
    losses = told.pushes[0::2]
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(losses))
