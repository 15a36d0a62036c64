"""The names an agent asks its control plane for: what it has of each, what is to be asked, and what is in doubt.

A name is in doubt until the stream that is open has said something of it: after a reconnect, what is known is neither
old nor fresh until the control plane says `same` or something new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from discovery.address import State
from discovery.path import Path
from discovery.remote.frames import Observation, Release, Want, chunks
from discovery.source import Unavailable

NAMES_A_FRAME = 1_000

Publish = Callable[[State | Unavailable], None]


@dataclass(slots=True)
class _Name:
    publish: Publish
    version: str | None = None
    state: State | None = None
    doubted_since: float | None = 0.0
    """Seconds since the epoch; None: the open stream vouches for it."""


class Relay:
    """The `Relays` of a link. `wake`: something is to be asked; `soon`: runs a callback later in the same loop."""

    def __init__(self, *, wake: Callable[[], None], soon: Callable[..., object]) -> None:
        self.heard = 0.0
        """When the link last heard anything: seconds since the epoch."""
        self._wake = wake
        self._soon = soon
        self._names: dict[Path, _Name] = {}
        self._wanted: dict[Path, None] = {}
        self._released: dict[Path, None] = {}
        self._unavailable: Unavailable | None = None

    def __len__(self) -> int:
        return len(self._names)

    def relay(self, name: Path, publish: Publish) -> Callable[[], None]:
        if name in self._names:
            raise ValueError(f"{name.show()} is relayed already")
        relayed = self._names[name] = _Name(publish)
        self._released.pop(name, None)
        self._wanted[name] = None
        if self._unavailable is None:
            self._wake()
        else:
            self._soon(self._tell_unavailable, name, relayed)
        return lambda: self._end(name, relayed)

    def in_doubt(self, name: Path) -> bool:
        relayed = self._names.get(name)
        return relayed is not None and relayed.doubted_since is not None

    def heard_at(self, name: Path) -> float:
        relayed = self._names.get(name)
        return self.heard if relayed is None or relayed.doubted_since is None else relayed.doubted_since

    def _end(self, name: Path, relayed: _Name) -> None:
        if self._names.get(name) is relayed:
            del self._names[name]
            if name in self._wanted:
                del self._wanted[name]
            # Wanted or not: an earlier relay of it may have been asked for.
            self._released[name] = None
            self._wake()

    def _tell_unavailable(self, name: Path, relayed: _Name) -> None:
        if self._names.get(name) is relayed and self._unavailable is not None:
            relayed.publish(self._unavailable)

    # What is asked

    def begin(self) -> None:
        """A stream is open: all names are asked for again, with the versions we have."""
        self._wanted = dict.fromkeys(self._names)
        self._released = {}

    def asking(self) -> Iterator[Release | Want]:
        released, self._released = self._released, {}
        for part in chunks([name.show() for name in released], NAMES_A_FRAME):
            yield Release(tuple(part))
        wanted, self._wanted = self._wanted, {}
        versions = {name.show(): self._names[name].version for name in wanted}
        for part in chunks(versions, NAMES_A_FRAME):
            yield Want({name: versions[name] for name in part})

    # What is answered

    def told(self, observation: Observation) -> None:
        relayed = self._names.get(observation.name)
        if relayed is not None:  # Else it was released meanwhile.
            relayed.version, relayed.state = observation.version, observation.state
            self._publish(relayed, observation.state)

    def same(self, names: Iterable[Path]) -> None:
        for name in names:
            relayed = self._names.get(name)
            if relayed is not None and relayed.state is not None:
                self._publish(relayed, relayed.state)

    @staticmethod
    def _publish(relayed: _Name, state: State) -> None:
        relayed.publish(state)
        relayed.doubted_since = None

    # When nobody answers

    def doubt(self) -> None:
        """The stream has ended."""
        for relayed in self._names.values():
            if relayed.doubted_since is None:
                relayed.doubted_since = self.heard

    def unavailable(self, reason: str) -> None:
        """There is no stream, for this reason: all names are told, and those that come."""
        if self._unavailable is not None and str(self._unavailable) == reason:
            return
        self._unavailable = Unavailable(reason)
        for name, relayed in list(self._names.items()):
            self._tell_unavailable(name, relayed)

    def available(self) -> None:
        """There is a stream again. Names are told when it has said something of them."""
        self._unavailable = None
