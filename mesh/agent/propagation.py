"""How long changes take to reach the proxies: from a source's new truth until each Envoy that wants it has it.

A change is what the store changed because an observation in use did: its endpoints, and clusters and routes where the
table leads elsewhere now. What changes no byte for Envoy is none, and a first answer is none, even that of an alternate
that is asked only now. One that is superseded before it is acknowledged counts once, from its first publication. What
is never acknowledged, because it was refused, its proxy went away, or nobody uses the name any more, is not counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate

from discovery.address import Known, State
from discovery.path import Path
from mesh.xds.events import Acked, Event, Nack
from mesh.xds.resource import CLUSTER, ENDPOINTS, SCOPE
from mesh.xds.server import Ads
from mesh.xds.status import Standing

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""

_Key = tuple[str, str]


@dataclass(slots=True)
class Delays:
    """`counts`: how many took at most as long as each of BUCKETS and longer than the one before; the last: longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds

    @property
    def cumulative(self) -> list[tuple[float, int]]:
        """As Prometheus has it: how many took at most so long."""
        return list(zip((*BUCKETS, float("inf")), accumulate(self.counts), strict=True))


@dataclass(slots=True)
class _Change:
    began: float
    awaited: set[_Key]


class Propagation:
    """`root`: the prefix of the source that is asked for a name. `clock`: seconds, of any origin."""

    def __init__(
        self, ads: Ads, roots: Iterable[Path], root: Callable[[Path], Path | None], clock: Callable[[], float]
    ) -> None:
        self._ads = ads
        self._root = root
        self._clock = clock
        self._delays: dict[Path, Delays] = {}
        self.measure(roots)
        # Observations in use that have been answered: what they say from now on is a change.
        self._answered: set[Path] = set()
        self._changes: dict[Path, _Change] = {}
        self._waiting: dict[_Key, set[Path]] = {}

    def measure(self, roots: Iterable[Path]) -> None:
        """The sources that there are from now on. What was measured of others is forgotten."""
        self._delays = {each: self._delays.get(each) or Delays() for each in roots}

    @property
    def delays(self) -> Mapping[Path, Delays]:
        return self._delays

    def unacknowledged(self) -> Counter[Path]:
        """How many changes of each source a proxy still lacks."""
        for name in list(self._changes):
            self._review(name)
        return Counter(root for root in map(self._root, self._changes) if root is not None)

    def wanted(self, name: Path, state: State | None) -> None:
        """As the binder tells: wanted, with this state; None: wanted no more."""
        if state is None:
            self._answered.discard(name)
            self._drop(name)
        elif isinstance(state, Known):
            self._answered.add(name)

    @contextmanager
    def measured(self, name: Path) -> Iterator[None]:
        """Within it, the store is told what an observation says now."""
        self._review(name)
        counts, began, sequence = name in self._answered, self._clock(), self._ads.store.sequence
        yield
        if counts and self._ads.store.sequence != sequence:
            self._begin(name, began, sequence)

    def on_event(self, event: Event) -> None:
        if isinstance(event, Acked):
            names: Iterable[str] = event.names
        else:
            names = event.culprits if isinstance(event, Nack) else ()
        for name in names if self._waiting else ():
            if (event.type_url, name) in self._waiting:
                self._decide((event.type_url, name))

    def _begin(self, name: Path, began: float, sequence: int) -> None:
        for key in self._changed_since(sequence):
            change = self._changes.setdefault(name, _Change(began, set()))
            change.awaited.add(key)
            self._waiting.setdefault(key, set()).add(name)

    def _changed_since(self, sequence: int) -> Iterator[_Key]:
        """What changed in the store and at least one proxy subscribes to."""
        for type_url in (CLUSTER, ENDPOINTS, SCOPE):
            for resource, _ in self._ads.store.changed_since(type_url, sequence) or ():
                if Standing.WAITING in self._standings((type_url, resource)):
                    yield type_url, resource

    def _standings(self, key: _Key) -> set[Standing]:
        return {holding.standing for holding in self._ads.holdings(*key)}

    def _decide(self, key: _Key) -> None:
        """One proxy has it or refuses it; others may still lack it, or lack what it has become since."""
        standings = self._standings(key)
        if Standing.WAITING in standings:
            return
        for name in self._waiting.pop(key):
            change = self._changes[name]
            change.awaited.discard(key)
            if Standing.REFUSED in standings:
                self._drop(name)
            elif not change.awaited:
                del self._changes[name]
                self._count(name, change)

    def _count(self, name: Path, change: _Change) -> None:
        delays = self._delays.get(self._root(name) or Path())
        if delays is not None:
            delays.add(self._clock() - change.began)

    def _review(self, name: Path) -> None:
        """A proxy that goes away, or comes with what it lacked, acknowledges nothing."""
        change = self._changes.get(name)
        if change is not None and not any(Standing.WAITING in self._standings(key) for key in change.awaited):
            self._drop(name)

    def _drop(self, name: Path) -> None:
        change = self._changes.pop(name, None)
        for key in change.awaited if change else ():
            names = self._waiting.get(key, set())
            names.discard(name)
            if not names:
                self._waiting.pop(key, None)
