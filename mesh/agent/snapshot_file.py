"""The snapshot's file: one SQLite database, one row per name and per observation, so that writing costs what changed.

WAL with synchronous=NORMAL: a power cut loses the last moments, it doesn't corrupt. Each row has a hash of its own:
what a disk has turned into something else is never taken for what was written. A file that can't be read is set aside;
a disk that can't be written to (full, read-only) is tried again later, and what is on it is read all the same.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

from discovery.address import Known
from discovery.path import Path
from mesh.agent.database import is_place, set_aside
from mesh.agent.names import Key
from mesh.agent.snapshot_rows import Fleet, decode, encode, fleet_rows, read_fleet

logger = logging.getLogger("tieline.snapshot")

VERSION = 3
HELD = "restored from disk, not confirmed yet"
BUSY_SECONDS = 1.0
"""Whoever else has the database open may lock it for so long."""
_SCHEMA = f"""
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists observation (
  path text primary key, addr text not null, since real not null, hash blob not null
) without rowid;
create table if not exists name (
  router text, key text, grpc integer not null, hash blob not null, primary key (router, key)
) without rowid;
create table if not exists fleet (part text primary key, said text not null, hash blob not null) without rowid;
pragma user_version = {VERSION};
"""
_Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    observations: dict[Path, Known] = field(default_factory=dict)
    names: dict[Key, bool] = field(default_factory=dict)
    """Whether gRPC was asked of it."""
    fleet: Fleet = field(default_factory=Fleet)


@dataclass(slots=True)
class Changes:
    """What is to be written. None: to be forgotten."""

    observations: dict[Path, Known | None] = field(default_factory=dict)
    names: dict[Key, bool | None] = field(default_factory=dict)
    fleet: Fleet | None = None

    def before(self, later: Changes) -> Changes:
        """Both; of one thing the later says what it is."""
        observations, names = {**self.observations, **later.observations}, {**self.names, **later.names}
        return Changes(observations, names, later.fleet or self.fleet)


class Unwritable(Exception):
    """The place can't be used now; the text says why. `restored`: what could be read there all the same."""

    def __init__(self, reason: str, restored: Restored | None = None) -> None:
        super().__init__(reason)
        self.restored = restored or Restored()


class Damaged(ValueError):
    """What is read is not what was written."""


class SnapshotFile:
    def __init__(self, file: File) -> None:
        self.file = file
        self._database: sqlite3.Connection | None = None
        # The last writing may come while an earlier one is still under way in its thread, or the reading at the start.
        self._using = threading.Lock()

    def read(self, now: float) -> Restored:
        """Raises Unwritable."""
        with self._using:
            return self._read(now)

    def _read(self, now: float) -> Restored:
        try:
            return _read(self._open(), now)
        except (OSError, sqlite3.Error, ValueError, KeyError, TypeError, OverflowError) as error:
            self.close()
            if is_place(error, self.file):
                raise Unwritable(str(error), self._read_copy(now)) from error
            self._set_aside(error)
            return Restored()

    def _read_copy(self, now: float) -> Restored:
        """Where SQLite may write nothing, it can't read what was written last either."""
        try:
            with tempfile.TemporaryDirectory(prefix="tieline-") as folder:
                for beside in ("", "-wal"):
                    part = self.file.with_name(self.file.name + beside)
                    if part.exists():
                        shutil.copyfile(part, File(folder) / part.name)
                with closing(sqlite3.connect(File(folder) / self.file.name)) as database:
                    return _read(database, now)
        except (OSError, sqlite3.Error, ValueError, KeyError, TypeError, OverflowError) as error:
            logger.warning("the snapshot can't be read", extra={"fields": {"file": self.file, "error": error}})
            return Restored()

    def write(self, changes: Changes) -> None:
        """All of it or nothing. Raises Unwritable."""
        try:
            with self._using, self._open() as database:
                database.execute("begin")
                for statement, rows in _statements(changes):
                    database.executemany(statement, rows)
        except (OSError, sqlite3.Error, ValueError) as error:
            self.close()
            raise Unwritable(str(error)) from error

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.file.touch(mode=0o600)
            self._database = sqlite3.connect(
                self.file, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS
            )
            if _version(self._database) not in (0, VERSION):
                raise ValueError("written by another version of Tieline")
            self._database.executescript(_SCHEMA)
        return self._database

    def _set_aside(self, error: Exception) -> None:
        """Raises Unwritable."""
        try:
            aside = set_aside(self.file)
        except OSError as failed:
            raise Unwritable(f"{error}, and the file can't be set aside: {failed}") from error
        fields = {"file": self.file, "error": error, "kept_as": aside}
        logger.warning(
            "the snapshot can't be read, it is set aside and the agent starts without it", extra={"fields": fields}
        )


def _version(database: sqlite3.Connection) -> object:
    return database.execute("pragma user_version").fetchone()[0]


def _read(database: sqlite3.Connection, now: float) -> Restored:
    if _version(database) != VERSION:
        raise ValueError("written by another version of Tieline")
    (verdict,) = database.execute("pragma quick_check(1)").fetchone()
    if verdict != "ok":
        raise Damaged(verdict)
    rows = _good(database.execute("select path, addr, since, hash from observation"))
    observations = {Path.parse(path): Known(decode(addr), float(since), now, HELD) for path, addr, since in rows}
    names = _good(database.execute("select router, key, grpc, hash from name order by 1, 2"))
    fleet = dict(_good(database.execute("select part, said, hash from fleet")))
    return Restored(observations, {(router, key): bool(grpc) for router, key, grpc in names}, read_fleet(fleet))


def _good(rows: Iterable[_Row]) -> Iterator[tuple[Any, ...]]:
    for *row, told in rows:
        if told != _hash(*row):
            raise Damaged(f"a row is not what was written: {repr(row)[:100]}")
        yield tuple(row)


def _hash(*row: object) -> bytes:
    return hashlib.blake2b(repr(row).encode(), digest_size=8).digest()


def _hashed(rows: Iterable[_Row]) -> list[_Row]:
    return [(*row, _hash(*row)) for row in rows]


def _statements(changes: Changes) -> Iterator[tuple[str, list[_Row]]]:
    observations, names = changes.observations.items(), changes.names.items()
    known = ((path.show(), encode(state.addr), float(state.since)) for path, state in observations if state)
    yield "insert or replace into observation values (?, ?, ?, ?)", _hashed(known)
    yield "delete from observation where path = ?", [(path.show(),) for path, state in observations if not state]
    kept = ((*key, int(grpc)) for key, grpc in names if grpc is not None)
    yield "insert or replace into name values (?, ?, ?, ?)", _hashed(kept)
    yield "delete from name where router = ? and key = ?", [key for key, grpc in names if grpc is None]
    if changes.fleet is not None:
        yield "insert or replace into fleet values (?, ?, ?)", _hashed(fleet_rows(changes.fleet))
