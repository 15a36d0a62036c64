"""What one stream has of one type: subscribed, sent, changed since, in flight. Pure; `session` decides when to send.

At most one response per type is unacknowledged. So a burst is coalesced while the client works, a client that never
acknowledges costs nothing more, and what is sent is always the newest version.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mesh.xds.events import Acked, Nack
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE
from mesh.xds.store import Store

# An empty first subscription to these asks for everything.
_WILDCARD = frozenset({CLUSTER, LISTENER, SCOPE})
# Of these Envoy takes the good ones of a response that it refuses; of others, who knows.
_TAKEN_SINGLY = frozenset({CLUSTER, LISTENER, SCOPE})
_LATER = float("inf")


@dataclass(slots=True)
class Flight:
    """A response that is not acknowledged yet: what was sent (None: removed), what the client had before.

    `behind` is taken over from the subscription; `first`: it is the first response for this type.
    """

    nonce: str
    first: bool
    sent: dict[str, str | None]
    before: dict[str, str | None]
    behind: dict[str, int]


@dataclass(slots=True)
class Counts:
    sent: int = 0
    acked: int = 0
    refused: int = 0


@dataclass(slots=True)
class Due:
    """What may be sent now."""

    puts: list[str]
    removed: list[str]


@dataclass(slots=True)
class Subscription:
    type_url: str
    store: Store
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    prefixes: tuple[str, ...] = ()
    # How far the store's changes have been looked at.
    seen: int = 0
    # Name -> the version the client was sent last, or came with.
    have: dict[str, str] = field(default_factory=dict)
    # To be sent: name -> the number of its newest change, which the response must not come before.
    dirty: dict[str, int] = field(default_factory=dict)
    # Name -> the number of the oldest change that the client lacks and no flight carries. What depends on the client
    # having moved on goes by this one: a name that keeps changing while it waits has still not moved.
    behind: dict[str, int] = field(default_factory=dict)
    # To be sent whatever the client has: it asked, or it forgot.
    owed: set[str] = field(default_factory=set)
    # To be sent each in a response of its own: they were in a refused one that did not say who was at fault.
    alone: deque[str] = field(default_factory=deque)
    rejected: dict[str, Nack] = field(default_factory=dict)
    unclaimed: set[str] = field(default_factory=set)
    flight: Flight | None = None
    answered: bool = False
    counts: Counts = field(default_factory=Counts)

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names or any(name.startswith(prefix) for prefix in self.prefixes)

    @property
    def globs(self) -> list[str]:
        return [f"{prefix}*" for prefix in self.prefixes]

    def begin(self, names: Iterable[str], versions: Mapping[str, str]) -> None:
        """The first request of the stream for this type."""
        self.have = dict(versions)
        self.seen = self.store.sequence
        self.wildcard = self.type_url in _WILDCARD and not names
        self.subscribe(names)
        if self.wildcard:
            self._compare()

    def subscribe(self, names: Iterable[str]) -> None:
        globs = False
        for name in names:
            if name == "*":
                self.wildcard = globs = True
            elif name.endswith("/*"):
                self.prefixes, globs = (*self.prefixes, name[:-1]), True
                self._assume(name[:-1])
            else:
                self._subscribe_name(name)
        if globs:
            self._compare()

    def _assume(self, prefix: str) -> None:
        for name in self.store.assumed.get(self.type_url, ()):
            if name.startswith(prefix):
                self.have.setdefault(name, "")

    def unsubscribe(self, names: Iterable[str]) -> None:
        for name in names:
            if name == "*":
                self.wildcard = False
            elif name.endswith("/*"):
                self.prefixes = tuple(prefix for prefix in self.prefixes if prefix != name[:-1])
            else:
                self.names.discard(name)
        for name in [name for name in {*self.have, *self.dirty, *self.owed} if not self.wants(name)]:
            self._drop(name)

    def catch_up(self) -> None:
        """Looks at what changed in the store since it was last looked at."""
        if self.seen == self.store.sequence:
            return
        changes = self.store.changed_since(self.type_url, self.seen)
        self.seen = self.store.sequence
        if changes is None:
            self._compare()
        else:
            for name, number in changes:
                if self.wants(name):
                    self._note(name, number)
        if self.store.settled:
            for name in self.unclaimed.copy():
                self._note(name, self.store.sequence)

    def due(self, puts_before: float, removals_before: float) -> Due:
        """Changes with a lower number than these; what is owed in any case."""
        while self.alone:
            name = self.alone.popleft()
            if self.wants(name) and self._stored(name) is not None:
                return Due([name], [])
        found = Due([], [])
        for name, number in self.dirty.items():
            stored = self._stored(name) is not None
            if number < (puts_before if stored else removals_before):
                (found.puts if stored else found.removed).append(name)
        for name in self.owed - self.dirty.keys():
            if self._stored(name) is not None:
                found.puts.append(name)
            elif self.store.settled:
                found.removed.append(name)
        return found

    def depart(self, nonce: str, due: Due) -> None:
        """`due` has been sent under `nonce`."""
        sent: dict[str, str | None] = {name: self.store.resources(self.type_url)[name].version for name in due.puts}
        sent.update(dict.fromkeys(due.removed))
        self.flight = Flight(
            nonce=nonce,
            first=not self.answered,
            sent=sent,
            before={name: self.have.get(name) for name in sent},
            behind={name: self.behind.pop(name) for name in sent if name in self.behind},
        )
        self.answered = True
        self.counts.sent += 1
        for name, version in sent.items():
            self.dirty.pop(name, None)
            self.owed.discard(name)
            self._set_have(name, version)

    def acked(self) -> Acked:
        flight = self._land()
        self.counts.acked += 1
        for name in flight.sent:
            # What is stored may have been refused before; that another version was taken says nothing of it.
            if not self.is_rejected(name):
                self.rejected.pop(name, None)
        return Acked(self.type_url, tuple(flight.sent))

    def refused(self, message: str) -> Nack:
        flight = self._land()
        self.counts.refused += 1
        versions = {name: version for name, version in flight.sent.items() if version is not None}
        culprits = tuple(versions) if len(versions) == 1 else named(versions, message)
        nack = Nack(self.type_url, tuple(versions), tuple(versions.values()), message, culprits)
        self.rejected.update(dict.fromkeys(culprits, nack))
        taken = bool(culprits) and self.type_url in _TAKEN_SINGLY
        again = [] if taken else sorted(versions.keys() - set(culprits))
        self.alone.extend(again)
        for name in (*culprits, *again):
            self._set_have(name, flight.before[name])
            if name in flight.behind:
                self.behind[name] = flight.behind[name]
        return nack

    def forgive(self, reasons: Iterable[str]) -> None:
        """What was refused with a message that names one of these is sent once more."""
        for name, nack in list(self.rejected.items()):
            if named(reasons, nack.message):
                del self.rejected[name]
                self._note(name, self.store.changed_at(self.type_url, name))

    def is_rejected(self, name: str) -> bool:
        stored, nack = self._stored(name), self.rejected.get(name)
        if stored is None or nack is None:
            return False
        return nack.versions[nack.names.index(name)] == stored

    def has(self, name: str) -> bool:
        """The client has acknowledged what the store holds under this name."""
        if name in self.alone or (self.flight is not None and name in self.flight.sent):
            return False
        stored = self._stored(name)
        return stored == self.have.get(name) or (stored is None and self.type_url == ENDPOINTS)

    @property
    def is_current(self) -> bool:
        waiting = self.dirty or self.owed or self.alone or self.flight
        return self.seen == self.store.sequence and not waiting

    def may_have(self) -> set[str]:
        """Every name that the client has or is being sent, or that is being withdrawn from it."""
        return {*self.have, *(self.flight.sent if self.flight else ())}

    def oldest_put(self) -> float:
        """Of all puts that are not acknowledged. A refused one is not waited for."""
        if not self.answered or (self.flight and self.flight.first):
            return 0
        waiting = [
            n for name, n in self.behind.items() if self._stored(name) is not None and not self.is_rejected(name)
        ]
        flying = self.flight.behind.items() if self.flight else ()
        waiting += [number for name, number in flying if self.flight and self.flight.sent[name] is not None]
        return min(waiting, default=_LATER)

    def oldest(self) -> float:
        """Of all changes that the client has not taken. One it refused counts while it has an older version of it.

        What is unclaimed may lead anywhere: nothing is withdrawn under it.
        """
        if not self.answered or self.unclaimed or (self.flight and self.flight.first):
            return 0
        waiting = [n for name, n in self.behind.items() if name in self.have or not self.is_rejected(name)]
        return min([*waiting, *(self.flight.behind.values() if self.flight else ())], default=_LATER)

    def _subscribe_name(self, name: str) -> None:
        came_with = self.have.get(name) if name not in self.names and not self.answered else None
        self.names.add(name)
        if came_with is None or came_with != self._stored(name):
            if came_with is None:
                self.owed.add(name)
            self._note(name, self.store.changed_at(self.type_url, name))

    def _compare(self) -> None:
        for name in {*self.store.resources(self.type_url), *self.have}:
            if self.wants(name):
                self._note(name, self.store.changed_at(self.type_url, name))

    def _note(self, name: str, number: int) -> None:
        stored, have = self._stored(name), self.have.get(name)
        # What the client came with may be older than anything here.
        since = 0 if name in self.unclaimed or not self.answered else number
        self.unclaimed.discard(name)
        if stored is None and have is not None and not self._gone_for_good(name):
            self.unclaimed.add(name)
            return
        # An assignment goes when its cluster goes: taken away before, it would leave the cluster without endpoints.
        removal = stored is None and have is not None and self.type_url != ENDPOINTS
        if removal or (stored is not None and stored != have and not self.is_rejected(name)):
            self.dirty[name] = number
            self.behind.setdefault(name, since)
            return
        self.dirty.pop(name, None)
        if stored == have:
            self.behind.pop(name, None)

    def _gone_for_good(self, name: str) -> bool:
        return self.store.settled or self.store.is_removed(self.type_url, name)

    def _stored(self, name: str) -> str | None:
        entry = self.store.get(self.type_url, name)
        return entry.version if entry else None

    def _set_have(self, name: str, version: str | None) -> None:
        if version is None or not self.wants(name):
            self.have.pop(name, None)
        else:
            self.have[name] = version

    def _drop(self, name: str) -> None:
        self.have.pop(name, None)
        self.dirty.pop(name, None)
        self.behind.pop(name, None)
        self.owed.discard(name)
        self.unclaimed.discard(name)

    def _land(self) -> Flight:
        flight = self.flight
        assert flight is not None
        self.flight = None
        return flight


def named(names: Iterable[str], message: str) -> tuple[str, ...]:
    """Those of `names` that stand in the message as they are, not inside a longer word or path."""
    return tuple(
        sorted(
            name
            for name in names
            if name in message and re.search(rf"(?<![\w/%#$.-]){re.escape(name)}(?![\w/%#$.-])", message)
        )
    )
