"""Holds exactly the observations that are wanted: one per name, however many want it.

`want` and `release` are counted. After the last release a name lingers, so that a table edited to and fro does not ask
the platforms anew; then its observation ends and is forgotten.

Its own sources are there from the beginning. Those of a control plane are told of later, and may change: `mount`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from discovery.address import Failed, Known, Pending, State
from discovery.observing import Observation, Scope, Settings, reread, tell
from discovery.outage import Outage
from discovery.path import Path
from discovery.relayed import Relayed, Relaying
from discovery.retries import Retries
from discovery.source import Catalog, Freshness, Relays, Rereads, Source

RESTORED = "restored from disk, not confirmed yet"


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """An open source: names of `segments` segments after `root` are asked of it, or of `fewest` to `segments`.

    Of the settings a source that relays states needs `bind_timeout` only.

    `longest`: of a name's beginnings, the longest that the source knows is meant.
    """

    root: Path
    kind: str
    segments: int
    source: Source | Relays
    settings: Settings = field(default_factory=Settings)
    fewest: int | None = None
    longest: bool = False
    freshness: Freshness | None = None

    def asks_as(self, other: SourceEntry) -> bool:
        """Whether an observation of a name by this entry is as good as one by the other."""
        asking = [(each.root, each.segments, each.fewest, each.settings) for each in (self, other)]
        return self.source is other.source and asking[0] == asking[1]


@dataclass(slots=True)
class _Wanted:
    state: State
    """Of a name that no source can be asked for; `observation` states it otherwise."""
    entry: SourceEntry | None = None
    observation: Observation | Relayed | None = None
    wants: int = 0
    held_since: float | None = None


class Observatory:
    """`async with Observatory(...)`: observations live within the block. `on_change` is never called from `want`."""

    def __init__(
        self,
        entries: Sequence[SourceEntry],
        on_change: Callable[[Path, State], None],
        *,
        restored: Mapping[Path, Known] | None = None,
        linger: float = 10.0,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.on_change = on_change
        self._own = _by_root(entries)
        self._seat(self._own)
        self._restored = dict(restored or {})
        self._linger = linger
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._group = asyncio.TaskGroup()
        self._scopes: dict[Path, Scope | Relaying] = {}
        self._rereading: list[asyncio.Task[None]] = []
        self._wanted: dict[Path, _Wanted] = {}
        self._lingering: dict[Path, float] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._group.__aenter__()
        for root, entry in self._entries.items():
            self._scopes[root] = self._scope(root, entry)
        return self

    def mount(self, entries: Sequence[SourceEntry]) -> None:
        """These relay from now on, instead of those that were mounted before. A source of our own goes before them.

        Names of an entry that is new, gone or asks in another way begin anew, which `on_change` is told of.
        Within the block only. Raises ValueError for two with one prefix, TypeError for one that relays nothing.
        """
        mounted = _by_root(entries)
        if any(not isinstance(entry.source, Relays) for entry in entries):
            raise TypeError("only sources that relay can be mounted")
        before = self._entries
        self._seat(mounted | self._own)
        for root in before.keys() - self._entries.keys():
            self._scopes.pop(root).outage.close()
        for root, entry in self._entries.items():
            if root not in before or not before[root].asks_as(entry):
                self._renew(root, entry)
        for name in list(self._wanted):
            self._move(name)

    def _seat(self, entries: dict[Path, SourceEntry]) -> None:
        self._entries = entries
        self._depths = sorted({len(root) for root in entries}, reverse=True)

    def _renew(self, root: Path, entry: SourceEntry) -> None:
        if (scope := self._scopes.pop(root, None)) is not None:
            scope.outage.close()
        self._scopes[root] = self._scope(root, entry)

    def _move(self, name: Path) -> None:
        """To the entry that is its own now, if that is another one."""
        wanted, entry = self._wanted.get(name), self.entry(name)
        if wanted is None:  # Forgotten when another one's change was told.
            return
        before, wanted.entry = wanted.entry, entry
        if before is entry or (before is not None and entry is not None and before.asks_as(entry)):
            return
        state = self.state(name)
        if wanted.observation is not None:
            wanted.observation.stop()
        begun = self._wanted[name] = self._begin(name)
        begun.wants = wanted.wants
        tell(self._changed, name, state, self.state(name))

    def _scope(self, root: Path, entry: SourceEntry) -> Scope | Relaying:
        source, settings = entry.source, entry.settings
        outage = Outage(root.show(), self._loop)
        if isinstance(source, Relays):
            return Relaying(source, settings, self._loop, outage, self._changed)
        rereads = isinstance(source, Rereads) and settings.resync > 0
        scope = Scope(
            source=source,
            settings=replace(settings, resync=0.0) if rereads else settings,
            group=self._group,
            loop=self._loop,
            clock=self._clock,
            rng=self._rng,
            outage=outage,
            retries=Retries(self._loop),
            changed=self._changed,
        )
        if rereads and isinstance(source, Rereads):
            self._rereading.append(self._group.create_task(reread(source, scope, settings.resync)))
        return scope

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for name in list(self._wanted):
            self._forget(name)
        for task in self._rereading:
            task.cancel()
        for scope in self._scopes.values():
            scope.outage.close()
        # Not the error of the block: the group would wrap it.
        await self._group.__aexit__(None, None, None)

    def want(self, name: Path) -> None:
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._wanted[name] = self._begin(name)
        wanted.wants += 1
        self._lingering.pop(name, None)

    def release(self, name: Path, *, linger: bool = True) -> None:
        """Raises KeyError for a name that is not wanted."""
        wanted = self._wanted[name]
        if wanted.wants == 0:
            raise KeyError(name)
        wanted.wants -= 1
        if wanted.wants == 0 and not linger:
            self._forget(name)
        elif wanted.wants == 0:
            self._lingering[name] = self._loop.time() + self._linger
            self._sweep_later()

    def state(self, name: Path) -> State:
        wanted = self._wanted.get(name)
        if wanted is None:
            return Pending()
        return wanted.observation.state if wanted.observation else wanted.state

    def known(self) -> Iterator[tuple[Path, State, SourceEntry | None]]:
        """Every observation there is: its name, its state, and its source, if there is one."""
        for name, wanted in self._wanted.items():
            yield name, wanted.observation.state if wanted.observation else wanted.state, wanted.entry

    def held_since(self, name: Path) -> float | None:
        """Since when it is the last known good, in seconds since the epoch; None when it is not held."""
        wanted = self._wanted.get(name)
        return wanted.held_since if wanted else None

    def outage(self, root: Path) -> Outage:
        """What fails at the source with this prefix. Raises KeyError when there is none."""
        return self._scopes[root].outage

    async def names(self, root: Path) -> list[Path] | None:
        """What the source at `root` could observe now, without the prefix; None when it has no list of its names.

        Raises as `Catalog.names` does; KeyError when there is no such source.
        """
        source = self._entries[root].source
        return list(await source.names()) if isinstance(source, Catalog) else None

    def entry(self, name: Path) -> SourceEntry | None:
        """The source whose prefix is the longest that `name` begins with."""
        candidates = (self._entries.get(name.take(depth)) for depth in self._depths if depth <= len(name))
        return next((entry for entry in candidates if entry is not None), None)

    def _begin(self, name: Path) -> _Wanted:
        entry = self.entry(name)
        if entry is None:
            return _Wanted(Failed("no source with this prefix"))
        rest = name.drop(len(entry.root))
        if not (entry.fewest or entry.segments) <= len(rest) <= entry.segments:
            wrong = f"{entry.root.show()} is asked for names of {entry.segments} segments, not {len(rest)}"
            return _Wanted(Failed(wrong), entry)
        restored = self._restored.pop(name, None)
        if restored is not None:
            restored = replace(restored, held=restored.held or RESTORED)
        observation = self._observation(name, rest, self._scopes[entry.root], restored)
        observation.start()
        return _Wanted(observation.state, entry, observation, held_since=self._clock() if restored else None)

    @staticmethod
    def _observation(name: Path, rest: Path, scope: Scope | Relaying, restored: Known | None) -> Observation | Relayed:
        if isinstance(scope, Relaying):
            return Relayed(name, scope, restored)
        return Observation(name, rest, scope, restored)

    def _forget(self, name: Path) -> None:
        observation = self._wanted.pop(name).observation
        if observation is not None:
            observation.stop()

    def _changed(self, name: Path, state: State) -> None:
        if wanted := self._wanted.get(name):
            held = isinstance(state, Known) and state.held is not None
            wanted.held_since = (wanted.held_since or self._clock()) if held else None
        self.on_change(name, state)

    def _sweep_later(self) -> None:
        if self._sweep_timer is None and self._lingering:
            oldest = next(iter(self._lingering.values()))
            self._sweep_timer = self._loop.call_at(oldest, self._sweep)

    def _sweep(self) -> None:
        self._sweep_timer = None
        now = self._loop.time()
        for name, end in list(self._lingering.items()):
            if end > now:
                break
            del self._lingering[name]
            self._forget(name)
        self._sweep_later()


def _by_root(entries: Sequence[SourceEntry]) -> dict[Path, SourceEntry]:
    found = {entry.root: entry for entry in entries}
    if len(found) != len(entries):
        raise ValueError("two sources have one prefix")
    return found
