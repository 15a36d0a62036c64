"""What this host knows, on disk: the names in use and the last known addresses. A restarted agent serves from it.

One SQLite file, one row per name and per observation, so that writing costs what changed. Written in a thread, at most
every `PAUSE_SECONDS`. WAL with synchronous=NORMAL: a power cut loses the last moments, it doesn't corrupt.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path as File

from discovery.address import Addr, Bound, Endpoint, Health, Known, Neg, Protocol, State, bound
from discovery.path import Path
from mesh.agent.names import Key

logger = logging.getLogger("tieline.snapshot")

PAUSE_SECONDS = 0.2
RETRY_SECONDS = 5.0
VERSION = 1
_SCHEMA = f"""
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists observation (path text primary key, addr text not null, since real not null) without rowid;
create table if not exists name (router text, key text, primary key (router, key)) without rowid;
pragma user_version = {VERSION};
"""


@dataclass(frozen=True, slots=True)
class Restored:
    observations: dict[Path, Known]
    names: tuple[Key, ...]


class Snapshot:
    def __init__(self, file: File) -> None:
        self._file = file
        self._database: sqlite3.Connection | None = None
        self._observations: dict[Path, Known | None] = {}
        self._names: dict[Key, bool] = {}
        self._changed = asyncio.Event()
        self.written_at: float | None = None

    def load(self, now: float) -> Restored:
        """What an earlier run left. An unreadable file is set aside with a warning: the agent starts without it."""
        try:
            self._database = self._open()
            return self._read(now)
        except (OSError, sqlite3.OperationalError) as error:
            self._database = None
            fields = {"file": self._file, "error": error}
            logger.error(
                "the snapshot can't be used: a restart begins without what is known now", extra={"fields": fields}
            )
            return Restored({}, ())
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
            aside = self._file.with_suffix(".unreadable")
            logger.warning(
                "the snapshot can't be read, it is set aside and the agent starts without it",
                extra={"fields": {"file": self._file, "error": error, "kept_as": aside}},
            )
            if self._database is not None:
                self._database.close()
            self._file.replace(aside)
            self._database = self._open()
            return Restored({}, ())

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None)
        if database.execute("pragma user_version").fetchone()[0] not in (0, VERSION):
            database.close()
            raise ValueError("written by another version of Tieline")
        database.executescript(_SCHEMA)
        return database

    def _read(self, now: float) -> Restored:
        assert self._database is not None
        rows = self._database.execute("select path, addr, since from observation")
        held = "restored from disk, not confirmed yet"
        observations = {Path.parse(p): Known(decode(a), since, now, held) for p, a, since in rows}
        return Restored(observations, tuple(self._database.execute("select router, key from name order by 1, 2")))

    def observed(self, path: Path, state: State | None) -> None:
        """`state` None: nobody wants it any more. What we don't know is no reason to forget what we knew."""
        if state is None or isinstance(state, Known):
            self._observations[path] = state
            self._changed.set()

    def named(self, key: Key, *, kept: bool) -> None:
        self._names[key] = kept
        self._changed.set()

    async def keep(self) -> None:
        try:
            while True:
                await self._changed.wait()
                await asyncio.sleep(PAUSE_SECONDS)
                if not await asyncio.to_thread(self._write, *self._take()):
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._write(*self._take())
            if self._database is not None:
                self._database.close()

    def _take(self) -> tuple[dict[Path, Known | None], dict[Key, bool]]:
        self._changed.clear()
        taken = self._observations, self._names
        self._observations, self._names = {}, {}
        return taken

    def _write(self, observations: dict[Path, Known | None], names: dict[Key, bool]) -> bool:
        """Runs in a thread. What could not be written is kept for the next time, unless it has changed since."""
        if self._database is None:
            return True
        try:
            with self._database as database:
                database.execute("begin")
                for statement, rows in _statements(observations, names):
                    database.executemany(statement, rows)
        except sqlite3.Error as error:
            logger.warning("the snapshot could not be written", extra={"fields": {"file": self._file, "error": error}})
            self._observations = {**observations, **self._observations}
            self._names = {**names, **self._names}
            self._changed.set()
            return False
        self.written_at = time.time()
        return True


def _statements(
    observations: dict[Path, Known | None], names: dict[Key, bool]
) -> Iterable[tuple[str, list[tuple[object, ...]]]]:
    known = [(path.show(), encode(state.addr), state.since) for path, state in observations.items() if state]
    yield "insert or replace into observation values (?, ?, ?)", [*known]
    yield (
        "delete from observation where path = ?",
        [(path.show(),) for path, state in observations.items() if not state],
    )
    yield "insert or replace into name values (?, ?)", [key for key, kept in names.items() if kept]
    yield "delete from name where router = ? and key = ?", [key for key, kept in names.items() if not kept]


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
