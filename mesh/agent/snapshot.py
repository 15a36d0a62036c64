"""What this host knows, on disk: the names in use and the last known addresses. A restarted agent serves from it."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path as File

from discovery.address import Known, State
from discovery.path import Path
from mesh.agent.names import Key
from mesh.agent.snapshot_file import Restored, SnapshotFile, Unwritable

logger = logging.getLogger("tieline.snapshot")

PAUSE_SECONDS = 0.2
RETRY_SECONDS = 5.0


class Snapshot:
    """Changes gather here and are written in a thread, at most every PAUSE_SECONDS."""

    def __init__(self, file: File, retry_seconds: float = RETRY_SECONDS) -> None:
        self._file = SnapshotFile(file)
        self._retry_seconds = retry_seconds
        self._observations: dict[Path, Known | None] = {}
        self._names: dict[Key, bool | None] = {}
        self._changed = asyncio.Event()
        self._failing = False
        self.written_at: float | None = None

    def load(self, now: float) -> Restored:
        """What an earlier run left; nothing when it can't be read, which is logged."""
        try:
            return self._file.read(now)
        except Unwritable as error:
            self._fails(error)
            return Restored({}, {})

    def observed(self, path: Path, state: State | None) -> None:
        """`state` None: nobody wants it any more. What we don't know is no reason to forget what we knew."""
        if state is None or isinstance(state, Known):
            self._observations[path] = state
            self._changed.set()

    def named(self, key: Key, *, kept: bool, grpc: bool = False) -> None:
        self._names[key] = grpc if kept else None
        self._changed.set()

    async def keep(self) -> None:
        try:
            while True:
                await self._changed.wait()
                await asyncio.sleep(self._retry_seconds if self._failing else PAUSE_SECONDS)
                await self._write()
        finally:
            self._write_last()

    async def _write(self) -> None:
        observations, names = self._take()
        try:
            await asyncio.to_thread(self._file.write, observations, names)
        except Unwritable as error:
            # Kept for the next time, unless it has changed since.
            self._observations = {**observations, **self._observations}
            self._names = {**names, **self._names}
            self._changed.set()
            self._fails(error)
        except asyncio.CancelledError:
            self._observations = {**observations, **self._observations}
            self._names = {**names, **self._names}
            raise
        else:
            self._failing, self.written_at = False, time.time()

    def _write_last(self) -> None:
        try:
            self._file.write(*self._take())
        except Unwritable as error:
            self._fails(error)
        self._file.close()

    def _take(self) -> tuple[dict[Path, Known | None], dict[Key, bool | None]]:
        self._changed.clear()
        taken = self._observations, self._names
        self._observations, self._names = {}, {}
        return taken

    def _fails(self, error: Unwritable) -> None:
        """Told once; the next success ends it."""
        if not self._failing:
            self._failing = True
            fields = {"file": self._file.file, "error": error, "tried_again_every_seconds": self._retry_seconds}
            logger.warning("the snapshot could not be written", extra={"fields": fields})
