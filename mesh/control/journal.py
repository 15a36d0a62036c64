"""What was observed and which tables were in force, for as long as is kept: so that the past can be explained.

Changes gather here and are written in a thread, at most every PAUSE_SECONDS. A name that changes all the time is
written down at its first changes and then now and then; what lies between is not known, and the journal says so. A
disk that can't be written to leaves a gap, which is told once.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path as File
from typing import Final, TypeVar

from discovery.address import State
from discovery.path import Path
from mesh.control import past
from mesh.control.journal_file import JournalFile, NoRoom, Row, Unwritable
from mesh.control.past import NotKnown, Past
from mesh.control.version import Version

logger = logging.getLogger("tieline.journal")

T = TypeVar("T")
PAUSE_SECONDS: Final = 0.2
PRUNE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0
HEARTBEAT_SECONDS: Final = 10.0
"""How often a journal in which nothing happens says that nothing happened; and that names are looked for that nobody
wants any more."""
AT_ONCE: Final = 8
"""Changes of a name in one writing; of more, the first and the last."""
STEADY: Final = 60
"""So many changes of a name at once, then one in each SECONDS_A_CHANGE."""
SECONDS_A_CHANGE: Final = 10.0
STOPPED: Final = "the control plane did not run"


@dataclass(frozen=True, slots=True)
class Bounds:
    age_seconds: float = 86_400.0
    bytes: int = 256 * 1024 * 1024


@dataclass(slots=True)
class _Pace:
    """How many more changes of a name are written down. `told`: that they are not any more."""

    left: float
    at: float
    told: bool = False

    def allows(self, now: float) -> bool:
        self.left = min(STEADY, self.left + (now - self.at) / SECONDS_A_CHANGE)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Journal:
    """`known`: all that is observed now, and in what state."""

    def __init__(
        self,
        file: File,
        known: Callable[[], Iterable[tuple[Path, State]]],
        bounds: Bounds = Bounds(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = JournalFile(file, bounds.bytes)
        self._known, self._bounds, self._clock = known, bounds, clock
        self._changes: dict[Path, list[tuple[float, State | None]]] = {}
        self._versions: list[tuple[float, Version]] = []
        self._last: dict[str, Version] = {}
        self._paces: dict[Path, _Pace] = {}
        self._written: set[Path] = set()
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._rests_until = 0.0
        """There was no room for it."""
        self._gap: str | None = STOPPED
        self.failing: str | None = None
        """Why it can't be written now."""

    def observed(self, path: Path, state: State) -> None:
        changes = self._changes.setdefault(path, [])
        if len(changes) >= AT_ONCE:
            changes.pop()
        changes.append((self._clock(), state))
        self._changed.set()

    def versioned(self, version: Version) -> None:
        self._last[version.namespace] = version
        self._versions.append((self._clock(), version))
        self._changed.set()

    async def keep(self) -> None:
        pruned = -float("inf")
        try:
            while True:
                if await self.flush() and (now := self._clock()) - pruned > PRUNE_SECONDS:
                    pruned = now
                    await self.prune()
                await asyncio.sleep(PAUSE_SECONDS if self.failing is None else RETRY_SECONDS)
                await self._next()
        finally:
            self._write(*self._taken())
            self._file.end()

    async def flush(self) -> bool:
        """What has happened is on disk when it returns True."""
        async with self._writing:
            if self._clock() < self._rests_until:
                return False
            return await asyncio.to_thread(self._write, *self._taken())

    async def prune(self) -> None:
        """Forgets what is too old, and what there is no room for."""
        async with self._writing:
            await asyncio.to_thread(self._prune, self._clock())

    async def look(self, moment: float, work: Callable[[Past], T]) -> T | NotKnown:
        """`work` is done in a thread, with what was known at `moment` (seconds since the epoch)."""
        if moment > self._clock():
            return NotKnown("not known: that time has not come yet")
        if not await self.flush():
            return NotKnown(f"not known: the journal can't be used: {self.failing}")
        # A file that turns out to be damaged must not be set aside under the reader.
        async with self._writing:
            return await asyncio.to_thread(self._look, moment, work)

    def _look(self, moment: float, work: Callable[[Past], T]) -> T | NotKnown:
        try:
            with closing(self._file.read()) as database:
                found = past.at(database, moment)
                return found if isinstance(found, NotKnown) else work(found)
        except sqlite3.Error as error:
            return NotKnown(f"not known: the journal can't be read: {error}")

    async def _next(self) -> None:
        """Until something has changed, or it is time to say that nothing has."""
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            self._reconcile()

    def _reconcile(self) -> None:
        """Names that nobody wants any more, and those that are wanted and had no change yet."""
        now = self._clock()
        known = dict(self._known())
        for path in self._written - known.keys():
            self._changes[path] = [(now, None)]
        for path in known.keys() - self._written:
            self._changes.setdefault(path, [(now, known[path])])
        self._paces = {path: pace for path, pace in self._paces.items() if now - pace.at < STEADY * SECONDS_A_CHANGE}

    def _taken(self) -> tuple[float, list[Row], list[Row]]:
        """All that is to be written. When a run begins, that is everything there is."""
        self._changed.clear()
        now = self._clock()
        if self._gap is not None:
            self._written, self._paces = set(), {}
            self._changes = {path: [(now, state)] for path, state in self._known()}
            self._versions = [(now, version) for version in self._last.values()]
        changes, self._changes = self._changes, {}
        versions, self._versions = self._versions, []
        made = ((path, at, state) for path, several in changes.items() for at, state in several)
        rows = [row for path, at, state in made if (row := self._row(path, at, state, now)) is not None]
        return now, rows, [Row(each.namespace, at, 0.0, past.write_version(each)) for at, each in versions]

    def _row(self, path: Path, at: float, state: State | None, now: float) -> Row | None:
        if state is None:
            self._written.discard(path)
            return Row(path.show(), at, 0.0, past.NOBODY)
        self._written.add(path)
        pace = self._paces.get(path)
        if pace is None:
            pace = self._paces[path] = _Pace(STEADY, now)
        if pace.allows(now):
            pace.told = False
            text, since = past.write_state(state)
            return Row(path.show(), at, since, text)
        # What it is when it comes to rest is written when its time has come.
        self._changes[path] = [(at, state)]
        if pace.told:
            return None
        pace.told = True
        return Row(path.show(), at, 0.0, past.UNSTEADY)

    # In a thread

    def _write(self, now: float, changes: list[Row], versions: list[Row]) -> bool:
        try:
            if self._gap is not None:
                self._file.begin(now, self._gap)
            self._file.write(now, changes, versions)
        except Unwritable as error:
            self._fails(str(error))
            return False
        if self.failing is not None:
            logger.info("the journal is written again", extra={"fields": {"file": self._file.file}})
        self._gap = self.failing = None
        return True

    def _prune(self, now: float) -> None:
        try:
            self._file.prune(now - self._bounds.age_seconds)
        except Unwritable as error:
            self._fails(str(error))
        except NoRoom as error:
            self._rests_until = now + self._bounds.age_seconds
            self._fails(str(error))

    def _fails(self, error: str) -> None:
        """Told once; what happens until it is written again will not be known."""
        if self.failing is None:
            fields = {"file": self._file.file, "error": error, "tried_again_every_seconds": RETRY_SECONDS}
            logger.warning("the journal can't be written; the past can't be explained", extra={"fields": fields})
        self.failing = error
        self._gap = self._gap if self._gap == STOPPED else f"the journal could not be written ({error})"
