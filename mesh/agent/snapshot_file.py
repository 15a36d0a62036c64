"""The snapshot's file: one SQLite database, one row per name and per observation, so that writing costs what changed.

WAL with synchronous=NORMAL: a power cut loses the last moments, it doesn't corrupt. A file that can't be read is set
aside; a disk that can't be written to (full, read-only) is tried again at the next writing.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as File

from discovery.address import Addr, Bound, Endpoint, Health, Known, Neg, Protocol, bound
from discovery.path import Path
from mesh.agent.names import Key

logger = logging.getLogger("tieline.snapshot")

VERSION = 2
HELD = "restored from disk, not confirmed yet"
_SCHEMA = f"""
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists observation (path text primary key, addr text not null, since real not null) without rowid;
create table if not exists name (router text, key text, grpc integer not null, primary key (router, key)) without rowid;
pragma user_version = {VERSION};
"""
# What is wrong is the place, not the content.
_PLACE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class Unwritable(Exception):
    """The place can't be used now; the text says why."""


@dataclass(frozen=True, slots=True)
class Restored:
    observations: dict[Path, Known]
    names: dict[Key, bool]
    """Whether gRPC was asked of it."""


class SnapshotFile:
    def __init__(self, file: File) -> None:
        self.file = file
        self._database: sqlite3.Connection | None = None
        # The last writing may come while an earlier one is still under way in its thread.
        self._writing = threading.Lock()

    def read(self, now: float) -> Restored:
        """Raises Unwritable."""
        try:
            return self._read(self._open(), now)
        except (OSError, sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
            self.close()
            if _is_place(error):
                raise Unwritable(str(error)) from error
            self._set_aside(error)
            return Restored({}, {})

    def write(self, observations: Mapping[Path, Known | None], names: Mapping[Key, bool | None]) -> None:
        """All of it or nothing. Raises Unwritable."""
        try:
            with self._writing, self._open() as database:
                database.execute("begin")
                for statement, rows in _statements(observations, names):
                    database.executemany(statement, rows)
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise Unwritable(str(error)) from error

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(self.file, check_same_thread=False, isolation_level=None)
            if self._database.execute("pragma user_version").fetchone()[0] not in (0, VERSION):
                raise ValueError("written by another version of Tieline")
            self._database.executescript(_SCHEMA)
        return self._database

    @staticmethod
    def _read(database: sqlite3.Connection, now: float) -> Restored:
        rows = database.execute("select path, addr, since from observation")
        observations = {Path.parse(path): Known(decode(addr), since, now, HELD) for path, addr, since in rows}
        names = database.execute("select router, key, grpc from name order by 1, 2")
        return Restored(observations, {(router, key): bool(grpc) for router, key, grpc in names})

    def _set_aside(self, error: Exception) -> None:
        aside = self.file.with_suffix(".unreadable")
        fields = {"file": self.file, "error": error, "kept_as": aside}
        logger.warning(
            "the snapshot can't be read, it is set aside and the agent starts without it", extra={"fields": fields}
        )
        for beside in ("", "-wal", "-shm"):
            part = self.file.with_name(self.file.name + beside)
            if part.exists():
                part.replace(aside.with_name(aside.name + beside))


def _is_place(error: Exception) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode & 0xFF in _PLACE
    return isinstance(error, OSError)


def _statements(
    observations: Mapping[Path, Known | None], names: Mapping[Key, bool | None]
) -> Iterable[tuple[str, list[tuple[object, ...]]]]:
    known = [(path.show(), encode(state.addr), state.since) for path, state in observations.items() if state]
    yield "insert or replace into observation values (?, ?, ?)", [*known]
    yield (
        "delete from observation where path = ?",
        [(path.show(),) for path, state in observations.items() if not state],
    )
    kept = [(*key, int(grpc)) for key, grpc in names.items() if grpc is not None]
    yield "insert or replace into name values (?, ?, ?)", [*kept]
    yield "delete from name where router = ? and key = ?", [key for key, grpc in names.items() if grpc is None]


def encode(addr: Addr) -> str:
    if isinstance(addr, Neg):
        return "null"
    return json.dumps([_row(endpoint) for endpoint in addr.endpoints], separators=(",", ":"))


def _row(endpoint: Endpoint) -> list[object]:
    protocol = endpoint.protocol.value if endpoint.protocol else None
    plain = [endpoint.address, endpoint.port, endpoint.weight, endpoint.zone, endpoint.health.value, endpoint.host]
    return [*plain, protocol, endpoint.identity, endpoint.metadata]


def decode(text: str) -> Addr:
    rows = json.loads(text)
    return Neg() if rows is None else bound(_endpoints(rows)) if rows else Bound()


def _endpoints(rows: Iterable[list[object]]) -> Iterable[Endpoint]:
    for address, port, weight, zone, health, host, protocol, identity, metadata in rows:
        yield Endpoint(
            address=str(address),
            port=int(str(port)),
            weight=float(str(weight)),
            zone=str(zone),
            health=Health(health),
            host=str(host),
            protocol=Protocol(protocol) if protocol else None,
            identity=str(identity),
            metadata=tuple((str(key), str(value)) for key, value in metadata),  # type: ignore[attr-defined]  # JSON
        )
