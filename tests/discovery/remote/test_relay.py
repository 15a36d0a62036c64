from __future__ import annotations

from collections.abc import Callable

import pytest

from discovery.address import Known, State
from discovery.path import Path
from discovery.remote.frames import Observation, Release, Want
from discovery.remote.relay import NAMES_A_FRAME, Relay
from discovery.source import Relays, Unavailable
from tests.discovery.observation import up

USERS, CARTS = Path.parse("/#/consul/dc1/users"), Path.parse("/#/consul/dc1/carts")
KNOWN = Known(up(1), 1, 2)


class Later:
    """What was put off."""

    def __init__(self) -> None:
        self.woken = 0
        self.calls: list[Callable[[], object]] = []
        self.relay = Relay(wake=self._wake, soon=lambda call, *args: self.calls.append(lambda: call(*args)))
        self.told: list[State | Unavailable] = []

    def _wake(self) -> None:
        self.woken += 1

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()

    def want(self, name: Path) -> Callable[[], None]:
        return self.relay.relay(name, self.told.append)

    def asked(self) -> list[Release | Want]:
        return list(self.relay.asking())


def test_it_relays() -> None:
    assert isinstance(Later().relay, Relays)


def test_a_name_is_asked_for_once_and_released_when_its_relay_ends() -> None:
    it = Later()
    end = it.want(USERS)
    assert it.woken == 1
    assert it.asked() == [Want({USERS.show(): None})]
    assert it.asked() == []
    end()
    assert it.asked() == [Release((USERS.show(),))]
    end()
    assert (it.asked(), len(it.relay)) == ([], 0)


def test_what_is_told_reaches_who_wants_it_and_nobody_else() -> None:
    it = Later()
    end = it.want(USERS)
    it.relay.told(Observation(USERS, "v1", KNOWN))
    it.relay.told(Observation(CARTS, "v1", KNOWN))
    assert it.told == [KNOWN]
    end()
    it.relay.told(Observation(USERS, "v2", KNOWN))
    assert it.told == [KNOWN]


def test_a_new_stream_is_asked_for_all_with_the_versions_we_have_and_same_is_an_answer() -> None:
    it = Later()
    it.want(USERS)
    it.want(CARTS)
    it.asked()
    it.relay.told(Observation(USERS, "v1", KNOWN))
    it.relay.begin()
    assert it.asked() == [Want({USERS.show(): "v1", CARTS.show(): None})]
    it.relay.same([USERS, CARTS])
    assert it.told == [KNOWN, KNOWN]


def test_a_name_wanted_anew_before_its_release_was_sent_is_asked_for_without_a_version() -> None:
    it = Later()
    end = it.want(USERS)
    it.asked()
    it.relay.told(Observation(USERS, "v1", KNOWN))
    end()
    it.want(USERS)
    assert it.asked() == [Want({USERS.show(): None})]


def test_a_name_is_relayed_once_at_a_time() -> None:
    it = Later()
    it.want(USERS)
    with pytest.raises(ValueError, match="already"):
        it.want(USERS)


def test_what_is_in_doubt_was_last_known_when_the_stream_that_vouched_for_it_was_last_heard() -> None:
    it = Later()
    it.want(USERS)
    it.relay.heard = 10.0
    it.relay.told(Observation(USERS, "v1", KNOWN))
    it.relay.heard = 20.0
    assert it.relay.heard_at(USERS) == 20.0
    it.relay.doubt()
    it.relay.begin()
    it.relay.heard = 30.0
    it.relay.doubt()
    assert it.relay.heard_at(USERS) == 20.0
    it.relay.same([USERS])
    assert it.relay.heard_at(USERS) == 30.0


def test_without_a_stream_all_are_told_why_once_and_who_comes_later_later() -> None:
    it = Later()
    it.want(USERS)
    it.relay.unavailable("no route")
    it.relay.unavailable("no route")
    assert [str(told) for told in it.told] == ["no route"]
    it.want(CARTS)
    assert len(it.told) == 1
    it.run()
    assert [str(told) for told in it.told] == ["no route", "no route"]
    it.relay.unavailable("no host")
    assert [str(told) for told in it.told[2:]] == ["no host", "no host"]


def test_who_came_while_there_was_no_stream_is_not_told_so_when_there_is_one_again() -> None:
    it = Later()
    it.relay.unavailable("no route")
    it.want(USERS)
    it.relay.available()
    it.run()
    assert it.told == []


def test_many_names_go_in_several_frames() -> None:
    it = Later()
    for number in range(2 * NAMES_A_FRAME + 1):
        it.want(Path((str(number),)))
    sizes = [len(frame.names) for frame in it.asked()]
    assert sizes == [NAMES_A_FRAME, NAMES_A_FRAME, 1]
