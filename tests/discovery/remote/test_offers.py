from __future__ import annotations

from collections.abc import Callable

from discovery.address import State
from discovery.observatory import SourceEntry
from discovery.path import Path
from discovery.remote.frames import encode, from_control
from discovery.remote.offers import beside, mounted, offered
from discovery.source import Freshness, Hears, Unavailable
from tests.fakes.memory import Platform


class _Relays:
    def relay(self, name: Path, publish: Callable[[State | Unavailable], None]) -> Callable[[], None]:
        raise NotImplementedError

    def in_doubt(self, name: Path) -> bool:
        raise NotImplementedError

    def heard_at(self, name: Path) -> float:
        raise NotImplementedError


CONSUL = SourceEntry(
    Path.parse("/#/consul"), "consul", 2, Platform(), fewest=1, longest=True, freshness=Freshness(Hears.LONG_POLL)
)
FILES = SourceEntry(Path.parse("/#/files"), "files", 1, Platform())
INET = SourceEntry(Path.parse("/$/inet"), "inet", 2, Platform(), fewest=1)


def test_what_is_offered_is_mounted_as_it_was() -> None:
    offer = from_control(encode(offered([FILES, CONSUL, INET])))
    assert offer == offered([CONSUL, FILES])
    relays = _Relays()
    consul, files = mounted(offered([FILES, CONSUL, INET]), relays, 3.0)
    assert (consul.root, consul.kind, consul.segments, consul.fewest) == (CONSUL.root, "consul", 2, 1)
    assert (consul.longest, consul.freshness, consul.source) == (True, CONSUL.freshness, relays)
    assert (files.fewest, files.longest, files.freshness, files.settings.bind_timeout) == (None, False, None, 3.0)


def test_another_offer_has_another_hash_and_the_order_is_none() -> None:
    assert offered([FILES, CONSUL]).hash == offered([CONSUL, FILES]).hash
    assert offered([FILES]).hash != offered([FILES, CONSUL]).hash != offered([]).hash


def test_a_source_whose_names_are_those_of_one_here_is_not_asked() -> None:
    inner = SourceEntry(Path.parse("/#/files/more"), "files", 1, Platform())
    assert beside([FILES, CONSUL, inner], [Path.parse("/#/files")]) == ([CONSUL], [FILES, inner])
    assert beside([FILES, CONSUL], [Path.parse("/#/consul/dc1")]) == ([FILES], [CONSUL])
    assert beside([FILES, CONSUL], []) == ([FILES, CONSUL], [])
