"""Entries -> what holds for a name, and who said so.

A name is matched by its path (`/svc/users`); what it leads to also by its bound id (`/#/consul/dc1/users`). All entries
that match are merged key by key, in order: a later one wins. Source of the rule: Linkerd 1, `io.l5d.static`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

from discovery.path import Path, encode_label
from mesh.config.fields import Section
from mesh.naming.pattern import Pattern, substitute
from mesh.naming.prefix import Index
from mesh.policy.balancing import Balancing, HealthCheck
from mesh.policy.resilience import Budget, Ejection, Limits
from mesh.policy.settings import DEFAULTS, Settings
from mesh.policy.tls import Tls

S = TypeVar("S", bound=Section)
Captures = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """`settings`: only what was written counts. `lines`: where each key of it stands in the file `where`."""

    match: str
    settings: Settings
    where: str = ""
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Said:
    """A value, and the entry that set it; None: the default."""

    key: str
    value: object
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class OfBoundName:
    """What becomes part of a cluster. Names whose clusters need not differ share them."""

    connect_seconds: float
    budget: Budget
    limits: Limits
    ejection: Ejection | None
    balancing: Balancing
    health_check: HealthCheck | None
    tls: Tls | None

    suffix: str = ""
    """Tells clusters of one bound name apart; empty for the defaults."""


@lru_cache(maxsize=4096)
def with_others_behind(policy: OfBoundName) -> OfBoundName:
    """Where another can serve, all endpoints may be ejected unless a policy says how many."""
    ejection = policy.ejection
    if ejection is None or ejection.max_share is not None:
        return policy
    return _told_apart(replace(policy, ejection=ejection.model_copy(update={"max_share": 100.0}), suffix=""))


def of_bound_name(settings: Settings) -> OfBoundName:
    # What to hash on is a matter of the route.
    balancing = settings.balancing.model_copy(update={"hash_on": ()})
    found = OfBoundName(
        settings.timeout.connect,
        settings.retries.budget,
        settings.limits,
        settings.ejection,
        balancing,
        settings.health_check,
        settings.tls,
    )
    return _told_apart(found)


def _told_apart(found: OfBoundName) -> OfBoundName:
    told = repr(found)
    return found if told == _DEFAULTS_TOLD else replace(found, suffix=f"+policy-{_digest(told)}")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


_DEFAULTS_TOLD = ""
BOUND_DEFAULTS = replace(of_bound_name(DEFAULTS), suffix="")
_DEFAULTS_TOLD = repr(BOUND_DEFAULTS)


class Policies:
    """All entries of a host, in order. Whoever holds it sees what `replace` puts in their place."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries: tuple[Entry, ...] = ()
        self.replace(entries)

    def replace(self, entries: Sequence[Entry]) -> bool:
        """Whether that says anything else, wherever it is written."""
        said = [(each.match, each.settings) for each in self.entries]
        self.entries = tuple(entries)
        self._patterns = [Pattern(entry.match) for entry in entries]
        self._by_prefix = Index((pattern.prefix, index) for index, pattern in enumerate(self._patterns))
        # Asked whenever a name is bound; entries don't change.
        self._found = lru_cache(maxsize=4096)(self._matching)
        self._merge = lru_cache(maxsize=4096)(self._merged)
        self._part = lru_cache(maxsize=4096)(of_bound_name)
        return said != [(each.match, each.settings) for each in self.entries]

    def of_name(self, path: Path) -> Settings:
        return self._merge(self._found(path)) if self.entries else DEFAULTS

    def of_bound(self, path: Path, id: Path) -> OfBoundName:
        return self._part(self._merge(self._found(path, id)))

    def matching(self, path: Path, id: Path | None = None) -> list[Entry]:
        """In order; those that match what the name leads to, too."""
        return [self.entries[index] for index, _ in self._matching(*((path,) if id is None else (path, id)))]

    def said(self, path: Path, id: Path | None = None) -> list[Said]:
        """Every key with its value, the keys that an entry set first."""
        matching = self._matching(*((path,) if id is None else (path, id)))
        by: dict[str, Entry] = {}
        for index, _ in matching:
            for key in written(self.entries[index].settings):
                by[key] = self.entries[index]
        rows = [Said(key, value, by.get(key)) for key, value in leaves(self._merge(matching))]
        return sorted(rows, key=lambda row: row.entry is None)

    def _matching(self, *paths: Path) -> tuple[tuple[int, Captures], ...]:
        """Each matching entry once, with what it captured: what the settings are is a function of this."""
        found = []
        shown = [tuple(map(encode_label, path)) for path in paths]
        for index in sorted({index for path in shown for index in self._by_prefix.scan(path)[0]}):
            pattern = self._patterns[index]
            captured = next((each for path in paths if (each := pattern.captures(path)) is not None), None)
            if captured is not None:
                found.append((index, tuple(sorted(captured.items()))))
        return tuple(found)

    def _merged(self, matching: tuple[tuple[int, Captures], ...]) -> Settings:
        merged = DEFAULTS
        for index, captures in matching:
            merged = merge(merged, filled(self.entries[index].settings, dict(captures)))
        return merged


def merge(under: S, over: S) -> S:
    """`over` wins wherever it says something. It may be an entry, whose `match` is no setting."""
    updates: dict[str, object] = {}
    for name in over.model_fields_set & type(under).model_fields.keys():
        value, before = getattr(over, name), getattr(under, name)
        both = isinstance(value, Section) and type(before) is type(value)
        updates[name] = merge(before, value) if both else value
    return under.model_copy(update=updates) if updates else under


def filled(settings: S, captures: Mapping[str, str]) -> S:
    """The captures written into every text."""
    updates = {name: _filled(getattr(settings, name), captures) for name in settings.model_fields_set}
    return settings.model_copy(update=updates) if captures else settings


def _filled(value: object, captures: Mapping[str, str]) -> object:
    match value:
        case str():
            return substitute(value, captures)
        case tuple():
            return type(value)(_filled(each, captures) for each in value)
        case Section():
            return filled(value, captures)
        case _:
            return value


def written(settings: Section, above: str = "") -> Iterator[str]:
    """The keys that were written, dotted: `timeout.request`."""
    for name in type(settings).model_fields:
        if name in settings.model_fields_set:
            value = getattr(settings, name)
            if isinstance(value, Section) and value.model_fields_set:
                yield from written(value, f"{above}{name}.")
            else:
                yield f"{above}{name}"


def leaves(settings: Section, above: str = "") -> Iterator[tuple[str, object]]:
    """Every key with its value, dotted."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Section):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
