from __future__ import annotations

import random

from discovery.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_most() -> None:
    assert [Backoff().ceiling(failures) for failures in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_delay_is_in_the_upper_half_below_the_ceiling() -> None:
    rng = random.Random(1)
    delays = [Backoff().delay(3, rng) for _ in range(1000)]
    assert 0.4 <= min(delays) < 0.45
    assert 0.75 < max(delays) <= 0.8


def test_a_million_failures_are_no_overflow() -> None:
    assert Backoff(0.1, 5.0).ceiling(1_000_000) == 5.0
