"""Every resource there is, and what changed since when. Sessions read it; nothing is computed per session here.

Each `apply` that changes something gets the next number of one sequence, shared by all types. A type's changes are kept
in the order of their last change, so what a session missed costs what changed and not what exists.

Until `settle`, a name that is not here may only be not known *yet*: a client that still has it keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mesh.xds.resource import Resource

# Removed names to remember beyond the number that exist; a session that missed more compares everything.
_TOMBSTONES = 1024


@dataclass(frozen=True, slots=True)
class Changes:
    """What an `apply` really changed; `sequence` is the store's number after it."""

    sequence: int
    put: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.removed)


@dataclass(slots=True)
class _Kind:
    resources: dict[str, Resource] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    forgotten: int = 0


class Store:
    def __init__(self) -> None:
        self.sequence = 0
        self.settled = False
        self.assumed: dict[str, frozenset[str]] = {}
        """By type: names that a proxy may have without saying so. Envoy doesn't list what came through a glob."""
        self._kinds: dict[str, _Kind] = {}

    def apply(self, put: Iterable[tuple[str, Resource]] = (), remove: Iterable[tuple[str, str]] = ()) -> Changes:
        """All of it at once. Equal content is no change; of one name both put and removed, the put stays."""
        number, named, puts = self.sequence + 1, set(), []
        for type_url, entry in put:
            named.add((type_url, entry.name))
            if self._put(type_url, entry, number):
                puts.append((type_url, entry.name))
        removed = [each for each in remove if each not in named and self._remove(*each, number)]
        if puts or removed:
            self.sequence = number
        return Changes(self.sequence, tuple(puts), tuple(removed))

    def settle(self) -> None:
        """From now on what is not here does not exist."""
        if not self.settled:
            self.settled = True
            self.sequence += 1

    def assume(self, type_url: str, names: Iterable[str]) -> None:
        self.assumed[type_url] = self.assumed.get(type_url, frozenset()).union(names)

    def assume_no_more(self, type_url: str, names: Iterable[str]) -> None:
        """A proxy has confirmed that these are gone; what is here again may well be at a proxy."""
        assumed = self.assumed.get(type_url, frozenset())
        if gone := [name for name in names if name in assumed and self.get(type_url, name) is None]:
            self.assumed[type_url] = assumed.difference(gone)

    def get(self, type_url: str, name: str) -> Resource | None:
        kind = self._kinds.get(type_url)
        return kind.resources.get(name) if kind else None

    def resources(self, type_url: str) -> Mapping[str, Resource]:
        kind = self._kinds.get(type_url)
        return kind.resources if kind else {}

    def is_removed(self, type_url: str, name: str) -> bool:
        """It was removed here, as opposed to never known."""
        kind = self._kinds.get(type_url)
        return kind is not None and name in kind.changed and name not in kind.resources

    def changed_at(self, type_url: str, name: str) -> int:
        """When this name last changed; for one that is not remembered, now."""
        kind = self._kinds.get(type_url)
        return kind.changed.get(name, self.sequence) if kind else self.sequence

    def changed_since(self, type_url: str, sequence: int) -> list[tuple[str, int]] | None:
        """Names with the number of their last change, oldest first. None: too long ago, compare everything."""
        kind = self._kinds.get(type_url)
        if kind is None:
            return []
        if sequence < kind.forgotten:
            return None
        found = []
        for name in reversed(kind.changed):
            if kind.changed[name] <= sequence:
                break
            found.append((name, kind.changed[name]))
        return found[::-1]

    def _put(self, type_url: str, entry: Resource, number: int) -> bool:
        kind = self._kinds.setdefault(type_url, _Kind())
        known = kind.resources.get(entry.name)
        if known is not None and known.version == entry.version:
            return False
        kind.resources[entry.name] = entry
        _mark(kind, entry.name, number)
        return True

    def _remove(self, type_url: str, name: str, number: int) -> bool:
        kind = self._kinds.setdefault(type_url, _Kind())
        # Before settling, a client may have what this store never had.
        if kind.resources.pop(name, None) is None and (self.settled or name in kind.changed):
            return False
        _mark(kind, name, number)
        if len(kind.changed) > 2 * len(kind.resources) + _TOMBSTONES:
            _forget(kind)
        return True


def _mark(kind: _Kind, name: str, number: int) -> None:
    kind.changed.pop(name, None)
    kind.changed[name] = number


def _forget(kind: _Kind) -> None:
    """Drops every tombstone but the newest few hundred."""
    dead = [name for name in kind.changed if name not in kind.resources]
    for name in dead[: -_TOMBSTONES // 4]:
        kind.forgotten = kind.changed.pop(name)
