from __future__ import annotations

from dataclasses import replace

import pytest

from discovery.address import Bound, Failed, Health, Known, Neg, Pending, State
from discovery.remote import states
from tests.discovery.observation import up

KNOWN = Known(up(1, 2), 1.0, 2.0)


def version(state: State) -> str:
    return states.encode(state)[0]


def test_equal_knowledge_has_an_equal_version_whenever_it_was_confirmed() -> None:
    assert version(KNOWN) == version(Known(up(2, 1), 100.0, 200.0))


@pytest.mark.parametrize(
    "other",
    [
        replace(KNOWN, held="no route"),
        replace(KNOWN, held="no route", lost=Neg()),
        replace(KNOWN, held="no route", lost=Bound()),
        Known(up(1), 1.0, 2.0),
        Known(Bound(), 1.0, 2.0),
        Known(Neg(), 1.0, 2.0),
        Known(Bound((replace(up(1).endpoints[0], health=Health.DRAINING), up(2).endpoints[0])), 1.0, 2.0),
        Pending(),
        Pending("no route"),
        Failed("no route"),
    ],
)
def test_other_knowledge_has_another_version(other: State) -> None:
    assert version(other) != version(KNOWN)


def test_what_is_the_default_is_left_away() -> None:
    expected = '{"known":[{"address":"10.0.0.1","port":80}],"since":1.0,"confirmed_at":2.0}'
    assert states.encode(Known(up(1), 1.0, 2.0))[1] == expected


def test_the_version_is_the_same_in_every_process() -> None:
    """A golden value: replicas of two versions of Tieline must agree on it."""
    assert version(Known(up(1), 1.0, 2.0)) == states.version('{"known":[{"address":"10.0.0.1","port":80}]}')
