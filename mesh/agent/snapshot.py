"""What this host knows, on disk: the names in use, the last known addresses, and the table that bound them. A restarted
agent serves from it."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path as File

from discovery.address import Known, State
from discovery.path import Path
from mesh.agent.names import Key
from mesh.agent.snapshot_file import Changes, Restored, SnapshotFile, Unwritable
from mesh.agent.snapshot_rows import Fleet
from mesh.control.version import Version

logger = logging.getLogger("tieline.snapshot")

PAUSE_SECONDS = 0.2
RETRY_SECONDS = 5.0


class Snapshot:
    """Changes gather here and are written in a thread, at most every PAUSE_SECONDS."""

    def __init__(self, file: File, retry_seconds: float = RETRY_SECONDS) -> None:
        self._file = SnapshotFile(file)
        self._retry_seconds = retry_seconds
        self._changes = Changes()
        self._fleet = Fleet()
        self._changed = asyncio.Event()
        self._failed: tuple[float, Unwritable] | None = None
        self._began: float | None = None
        self.written_at: float | None = None

    def load(self, now: float) -> Restored:
        """What an earlier run left; nothing when it can't be read, which is logged."""
        return self._begin(*self._read(now))

    async def load_within(self, seconds: float, now: float) -> Restored:
        """As `load`. A disk that takes longer than `seconds` has nothing to say, which is logged, too."""
        try:
            async with asyncio.timeout(seconds):
                read = await asyncio.to_thread(self._read, now)
        except TimeoutError:
            fields = {"file": self._file.file, "waited_seconds": seconds}
            logger.warning("the disk does not answer, the agent starts without its snapshot", extra={"fields": fields})
            return Restored()
        return self._begin(*read)

    def _read(self, now: float) -> tuple[Restored, Unwritable | None]:
        try:
            return self._file.read(now), None
        except Unwritable as error:
            return error.restored, error

    def _begin(self, restored: Restored, error: Unwritable | None) -> Restored:
        if error is not None:
            self._fails(error)
        self._fleet = restored.fleet
        return restored

    def observed(self, path: Path, state: State | None) -> None:
        """`state` None: nobody wants it any more. What we don't know is no reason to forget what we knew."""
        if state is None or isinstance(state, Known):
            self._changes.observations[path] = state
            self._changed.set()

    def named(self, key: Key, *, kept: bool, grpc: bool = False) -> None:
        self._changes.names[key] = grpc if kept else None
        self._changed.set()

    def table(self, version: Version) -> None:
        self._said(replace(self._fleet, table=version))

    def sources(self, text: str) -> None:
        self._said(replace(self._fleet, sources=text))

    def _said(self, fleet: Fleet) -> None:
        if fleet != self._fleet:
            self._fleet = self._changes.fleet = fleet
            self._changed.set()

    def status(self) -> dict[str, object]:
        """`writing_seconds`: for how long the disk has taken already over what is being written."""
        since, error = self._failed or (None, None)
        return {
            "written_at": self.written_at,
            "writing_seconds": None if self._began is None else round(time.time() - self._began, 1),
            "error": None if error is None else str(error),
            "error_seconds": None if since is None else round(time.time() - since, 1),
        }

    async def keep(self) -> None:
        try:
            while True:
                await self._changed.wait()
                await asyncio.sleep(self._retry_seconds if self._failed else PAUSE_SECONDS)
                await self._write()
        finally:
            self._write_last()

    async def _write(self) -> None:
        changes, self._began = self._take(), time.time()
        try:
            await asyncio.to_thread(self._file.write, changes)
        except Unwritable as error:
            # Kept for the next time, unless it has changed since.
            self._changes = changes.before(self._changes)
            self._changed.set()
            self._fails(error)
        except asyncio.CancelledError:
            self._changes = changes.before(self._changes)
            raise
        else:
            self._failed, self.written_at = None, time.time()
        finally:
            self._began = None

    def _write_last(self) -> None:
        try:
            self._file.write(self._take())
        except Unwritable as error:
            self._fails(error)
        self._file.close()

    def _take(self) -> Changes:
        self._changed.clear()
        taken, self._changes = self._changes, Changes()
        return taken

    def _fails(self, error: Unwritable) -> None:
        """Told once; the next success ends it."""
        if self._failed is None:
            self._failed = time.time(), error
            fields = {"file": self._file.file, "error": error, "tried_again_every_seconds": self._retry_seconds}
            logger.warning("the snapshot could not be written", extra={"fields": fields})
