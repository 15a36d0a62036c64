from __future__ import annotations

import pytest

from discovery.address import Addr, Bound, Endpoint, Neg, bound
from discovery.holding import is_mass_loss, loss, merged


def up(*numbers: int, weight: float = 1.0) -> Bound:
    return bound(Endpoint(f"10.0.0.{number}", 80, weight=weight) for number in numbers)


@pytest.mark.parametrize(
    ("held", "read", "expected"),
    [
        (up(1), up(), True),
        (up(1), Neg(), True),
        (up(1, 2), up(1), False),
        (up(1, 2, 3), up(1), True),
        (up(1, 2, 3, 4), up(1, 2), False),
        (up(1, 2, 3, 4), up(1), True),
        (up(1, 2, 3), up(4, 5, 6), False),
        (up(1), up(1, 2), False),
        (up(), Neg(), False),
        (Neg(), up(), False),
        (Neg(), Neg(), False),
    ],
)
def test_the_loss_of_all_or_of_more_than_half_is_a_mass_loss(held: Addr, read: Addr, expected: bool) -> None:
    assert is_mass_loss(held, read) is expected


def test_merged_has_the_held_endpoints_and_the_new_ones_as_last_read() -> None:
    assert merged(up(1, 2, 3), up(3, 4, weight=2)) == bound([*up(1, 2).endpoints, *up(3, 4, weight=2).endpoints])
    assert merged(up(1, 2), Neg()) == up(1, 2)


def test_the_loss_is_told_by_what_is_gone_and_not_by_the_count() -> None:
    assert loss(up(1, 2, 3, 4), up(9), 2.0).startswith("4 of 4 endpoints vanished at once; waiting 2 s")
    assert loss(up(1, 2, 3, 4), Neg(), 0.5) == "the name vanished; waiting 0.5 s for a second full read"
