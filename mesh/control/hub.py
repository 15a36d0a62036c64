"""What every agent is told, made once for all of them: states of names, tables of namespaces, the list of sources.

A name is observed while any agent wants it. A change makes a name *due* for the agents that want it, and only for them;
it is encoded when the first of them takes it, in its newest state. So a burst costs an agent that is slow one frame,
and an agent costs what it wants. Nothing is sent here: `mesh.control.stream` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from discovery.address import Failed, Pending, State
from discovery.observatory import Observatory
from discovery.path import Path
from discovery.remote import frames
from discovery.remote.frames import MOST_BYTES, Hello, Same, Sources
from discovery.remote.reading import BadFrame, path
from mesh.control.namespaces import Namespaces, Tables

NAMES_A_FRAME = 1_000


class TooManyNames(Exception):
    """An agent wants more names than it may."""


@dataclass(slots=True, eq=False)
class _Name:
    path: Path
    shown: str
    wanting: set[Due] = field(default_factory=set)
    version: str = ""
    frame: bytes | None = None
    """Of the present state; None: it was not encoded since it changed. So is `version`."""
    answered: bool = False


class Due:
    """What one agent has, and what it is to be told. It keeps no frames: a change makes a name due, however often."""

    __slots__ = ("_claimed", "_due", "_has", "_hub", "_sources_due", "_table_due", "_wake", "namespace")

    def __init__(self, hub: Hub, namespace: str, wake: Callable[[], None]) -> None:
        self.namespace = namespace
        self._wake = wake
        self._hub = hub
        self._has: dict[_Name, str | None] = {}
        """The versions it was told, by this stream."""
        self._claimed: dict[_Name, str] = {}
        """The versions it came with, until it has had an answer."""
        self._due: dict[_Name, None] = {}
        self._table_due = False
        self._sources_due = False

    def __len__(self) -> int:
        """How many names it wants."""
        return len(self._has)

    def frames(self) -> Iterator[bytes]:
        """What is to be sent, each frame made when it is asked for. When it ends there is nothing more for now."""
        same: list[str] = []
        while self._table_due or self._sources_due or self._due:
            if self._sources_due:
                self._sources_due = False
                yield self._hub.sources_frame()
            elif self._table_due:
                self._table_due = False
                yield self._hub.table_frame(self.namespace)
            elif (frame := self._take(next(iter(self._due)), same)) is not None:
                yield frame
            if len(same) >= NAMES_A_FRAME or (same and not self._due):
                told, same = same, []
                yield _same(told)

    def _take(self, name: _Name, same: list[str]) -> bytes | None:
        del self._due[name]
        frame = self._hub.frame(name)
        if not name.answered and self._has[name] is None:
            return None  # Nothing is known yet: what the agent has, if it has anything, is better.
        claimed = self._claimed.pop(name, None)
        before, self._has[name] = self._has[name], name.version
        if claimed == name.version:
            same.append(name.shown)
            return None
        return None if before == name.version else frame

    # For the hub

    def want(self, name: _Name, version: str | None) -> None:
        self._has[name] = None
        if version is None:
            self._claimed.pop(name, None)
        else:
            self._claimed[name] = version
        self.changed(name)

    def release(self, name: _Name) -> None:
        del self._has[name]
        self._claimed.pop(name, None)
        self._due.pop(name, None)

    def left(self) -> None:
        """Nothing is due any more; its names are released one by one."""
        self._table_due = self._sources_due = False

    def names(self) -> list[_Name]:
        return list(self._has)

    def changed(self, name: _Name) -> None:
        self._due[name] = None
        self._wake()

    def table_changed(self) -> None:
        self._table_due = True
        self._wake()

    def sources_changed(self) -> None:
        self._sources_due = True
        self._wake()


class Hub:
    """`changed` is for the observatory's `on_change`. `keep` for as long as there is a control plane."""

    def __init__(self, observatory: Observatory, offer: Sources, tables: Tables, *, most_names: int = 20_000) -> None:
        self._observatory = observatory
        self._offer = offer
        self._namespaces = Namespaces(tables)
        self._most_names = most_names
        self._all: dict[Due, Callable[[], None]] = {}
        self._names: dict[str, _Name] = {}
        self._sources_frame: bytes | None = None

    def __len__(self) -> int:
        """How many names are wanted, by whomever."""
        return len(self._names)

    async def keep(self) -> None:
        await self._namespaces.keep()

    # Agents

    def join(self, hello: Hello, wake: Callable[[], None]) -> Due:
        due = Due(self, hello.namespace, wake)
        self._all[due] = self._namespaces.join(hello, due.table_changed)
        if hello.sources != self._offer.hash:
            due.sources_changed()
        return due

    def leave(self, due: Due) -> None:
        """More than once does no harm."""
        leave_namespace = self._all.pop(due, None)
        if leave_namespace is not None:
            leave_namespace()
            due.left()
            for name in due.names():
                self._release(due, name)

    def want(self, due: Due, names: Mapping[str, str | None]) -> None:
        """Raises BadFrame, TooManyNames. Who has left wants nothing any more."""
        if due not in self._all:
            return
        for shown, version in names.items():
            name = self._names.get(shown) or self._begin(shown)
            name.wanting.add(due)
            due.want(name, version)
        if len(due) > self._most_names:
            raise TooManyNames(f"it wants more than {self._most_names} names")

    def release(self, due: Due, names: Iterable[str]) -> None:
        """What it doesn't want is passed over."""
        for shown in names:
            name = self._names.get(shown)
            if name is not None and due in name.wanting:
                self._release(due, name)

    def _begin(self, shown: str) -> _Name:
        parsed = path(shown, "names")
        if parsed.show() != shown:
            raise BadFrame("names", f"{parsed.show()} expected, not {shown}")
        self._observatory.want(parsed)
        name = self._names[shown] = _Name(parsed, shown)
        return name

    def _release(self, due: Due, name: _Name) -> None:
        due.release(name)
        name.wanting.discard(due)
        if not name.wanting:
            del self._names[name.shown]
            self._observatory.release(name.path)

    # Changes

    def changed(self, name: Path, _state: State) -> None:
        known = self._names.get(name.show())
        if known is not None:
            known.frame = None
            for due in known.wanting:
                due.changed(known)

    def offer(self, sources: Sources) -> None:
        """What agents may ask for has changed."""
        if sources.hash != self._offer.hash:
            self._offer, self._sources_frame = sources, None
            for due in self._all:
                due.sources_changed()

    # Frames

    def frame(self, name: _Name) -> bytes:
        if name.frame is None:
            state = self._observatory.state(name.path)
            name.version, text = frames.observation(name.shown, state)
            if len(text) > MOST_BYTES:
                # It would end the stream of every agent that wants it, again and again.
                reason = f"what is known takes {len(text)} bytes, more than the {MOST_BYTES} that an agent reads"
                name.version, text = frames.observation(name.shown, Failed(reason))
            name.frame, name.answered = text.encode(), not isinstance(state, Pending)
        return name.frame

    def table_frame(self, namespace: str) -> bytes:
        return self._namespaces.frame(namespace)

    def sources_frame(self) -> bytes:
        if self._sources_frame is None:
            self._sources_frame = frames.encode(self._offer).encode()
        return self._sources_frame


def _same(names: list[str]) -> bytes:
    return frames.encode(Same(tuple(names))).encode()
