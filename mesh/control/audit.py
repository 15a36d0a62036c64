"""Who wanted to change what, when, and what came of it: lines of JSON, each on disk before the caller is answered.

A change has two lines of one id: `begun` before the store is asked, and what came of it after. So a change whose record
can't be written is refused, and one during which the control plane ended shows as begun. What is refused before that
has one line. Bounded: the file is set aside when it is full, and the oldest of those is dropped.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import Final, Literal

logger = logging.getLogger("tieline.audit")

MOST_BYTES: Final = 8 * 1024**2
FILES: Final = 8
"""With that which is written."""
STRANGERS: Final = 10
"""Lines a minute about attempts of nobody, who could otherwise push all others out. More are counted in the next."""
_MINUTE = 60.0

Result = Literal["begun", "made", "unchanged", "refused", "conflicted", "failed"]
"""`failed`: the store could not be asked, so that the change may have been made or not."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """`address`: where it came from. `what`: method and path."""

    who: str
    via: str
    address: str
    what: str
    namespace: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One line. `version`: the one made, or that which is in force. `unrecorded`: so many like it have no line."""

    id: str
    at: float
    who: str
    via: str
    address: str
    what: str
    namespace: str
    why: str
    result: Result
    status: int | None = None
    version: int | None = None
    error: str | None = None
    unrecorded: int = 0


class Unwritable(Exception):
    """The text says what failed and what to do."""


class Audit:
    def __init__(
        self,
        folder: File,
        *,
        most_bytes: int = MOST_BYTES,
        files: int = FILES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = _Lines(folder / "audit.log", most_bytes, files)
        self._clock = clock
        self._writing, self._reading = asyncio.Lock(), asyncio.Lock()
        self._strangers: list[float] = []
        self._unrecorded = 0
        self.failures = 0
        self.failing: str | None = None
        """Why the last record could not be written."""

    async def begun(self, attempt: Attempt) -> str:
        """Its id. Raises Unwritable: then the change must not be made."""
        id = secrets.token_hex(8)
        await self._write(self._record(id, attempt, "begun"))
        return id

    async def ended(
        self,
        attempt: Attempt,
        result: Result,
        *,
        id: str | None = None,
        status: int | None = None,
        version: int | None = None,
        error: str | None = None,
    ) -> None:
        """`id`: of what has begun. Raises Unwritable."""
        unrecorded = 0
        if attempt.via == "nobody":
            if not self._is_room_for_strangers():
                self._unrecorded += 1
                return
            unrecorded, self._unrecorded = self._unrecorded, 0
        record = self._record(id or secrets.token_hex(8), attempt, result)
        ended = {"status": status, "version": version, "error": error, "unrecorded": unrecorded}
        await self._write({**record, **ended})

    async def latest(self, limit: int) -> list[Record]:
        """Newest first."""
        # One after the other: all who ask together have no more than one of the threads, should the disk hang.
        async with self._reading:
            return await asyncio.to_thread(lambda: _latest(self._file.backwards(), limit))

    def _record(self, id: str, attempt: Attempt, result: Result) -> dict[str, object]:
        return {"id": id, "at": round(self._clock(), 3), **asdict(attempt), "result": result}

    def _is_room_for_strangers(self) -> bool:
        now = self._clock()
        self._strangers = [at for at in self._strangers if now - at < _MINUTE]
        if len(self._strangers) >= STRANGERS:
            return False
        self._strangers.append(now)
        return True

    async def _write(self, record: dict[str, object]) -> None:
        line = json.dumps(record).encode() + b"\n"
        async with self._writing:
            try:
                await asyncio.to_thread(self._file.append, line)
            except OSError as error:
                self.failures += 1
                reason = f"{self._file.path}: {(error.strerror or str(error)).lower()}"
                if self.failing is None:
                    logger.error("the audit log can't be written", extra={"fields": {"error": reason}})
                self.failing = reason
                text = f"the audit log can't be written ({reason}). Make room, or correct the folder's permissions"
                raise Unwritable(text) from error
            if self.failing is not None:
                logger.info("the audit log is written again", extra={"fields": {"failures": self.failures}})
            self.failing = None


class _Lines:
    """A file of lines, and older ones with a number behind its name. Blocking."""

    def __init__(self, path: File, most_bytes: int, files: int) -> None:
        self.path, self._most_bytes, self._files = path, most_bytes, files

    def append(self, line: bytes) -> None:
        """On disk when it returns; not at all when it raises."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._set_aside(len(line))
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, line)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)  # Half a line would spoil the next.
                raise
        finally:
            os.close(descriptor)
        if new:
            _sync_folder(self.path.parent)

    def _set_aside(self, more: int) -> None:
        if not self.path.exists() or self.path.stat().st_size + more <= self._most_bytes:
            return
        for number in range(self._files - 1, 1, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.rename(self._numbered(number))
        self.path.rename(self._numbered(1))

    def _numbered(self, number: int) -> File:
        return self.path.with_name(f"{self.path.name}.{number}")

    def backwards(self) -> Iterator[bytes]:
        """All lines, the last first."""
        for file in (self.path, *map(self._numbered, range(1, self._files))):
            try:
                lines = file.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            yield from reversed(lines)


def _write_all(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]


def _sync_folder(folder: File) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _latest(lines: Iterable[bytes], limit: int) -> list[Record]:
    """What has begun and come to an end is one record."""
    found: dict[str, Record] = {}
    for line in lines:
        record = _read(line)
        if record is None or record.id in found:
            continue
        if len(found) == limit:
            break
        found[record.id] = record
    return list(found.values())


def _read(line: bytes) -> Record | None:
    """None: somebody else wrote it, or a later version of us."""
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError):
        return None
