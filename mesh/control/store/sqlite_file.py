"""The versions in one SQLite file: the calls that block. One row per version; triggers see to it that none is changed.

WAL with synchronous=FULL: what is committed is on the disk. The file is changed by Tieline alone: one of another
program or another version of the schema is refused and left as it is.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path as File

from mesh.control.store import record
from mesh.control.store.protocol import Expected, Latest, Refused, StoreError, Unavailable, Unreadable
from mesh.control.version import Change, Content, Version

SCHEMA = 1
APPLICATION = 0x7469656C
"""`application_id`: "tiel"."""
BUSY_SECONDS = 5.0
"""How long another process may lock it."""
_MOST = 2**63 - 1
_TABLE = f"""
create table if not exists version (
  id integer primary key,
  namespace text not null check (typeof(namespace) = 'text'),
  number integer not null check (typeof(number) = 'integer' and number > 0),
  at real not null check (typeof(at) = 'real'),
  who text not null check (typeof(who) = 'text'),
  why text not null check (typeof(why) = 'text'),
  dtab text check (typeof(dtab) in ('text', 'null')),
  policies text not null check (typeof(policies) = 'text'),
  unique (namespace, number)
);
create trigger if not exists never_changed before update on version
  begin select raise(abort, 'a version is never changed'); end;
create trigger if not exists never_removed before delete on version
  begin select raise(abort, 'a version is never removed'); end;
pragma application_id = {APPLICATION};
pragma user_version = {SCHEMA};
"""
_REFUSED = {
    sqlite3.SQLITE_READONLY: "it can't be written to",
    sqlite3.SQLITE_PERM: "access is denied",
    sqlite3.SQLITE_AUTH: "access is denied",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file; it is left as it is",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore it from a copy",
    sqlite3.SQLITE_ERROR: "its tables are not those of Tieline",
}
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "another process has locked it, and does not let go",
    sqlite3.SQLITE_FULL: "the disk is full; nothing was changed",
}

_Row = tuple[int, bytes, int, float, bytes, bytes, bytes | None, bytes]


class VersionFile:
    """Of one thread at a time. Every call opens the file if need be, and raises StoreErrors."""

    def __init__(self, file: File, clock: Callable[[], float] = time.time, busy_seconds: float = BUSY_SECONDS) -> None:
        self._file = file
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def current(self) -> tuple[int, dict[str, Latest]]:
        """With the id of the last row."""
        query = (
            "select * from version where id in"
            " (select id from (select max(number), id from version group by namespace)) order by id"
        )
        with self._opened() as database:
            # One read transaction: what is written between the two is told by `since`.
            database.execute("begin")
            (last,) = database.execute("select coalesce(max(id), 0) from version").fetchone()
            rows = database.execute(query).fetchall()
            database.execute("commit")
        return last, self._latest(rows)

    def since(self, last: int) -> tuple[int, dict[str, Latest]]:
        """What was written after row `last`, once whoever is writing now has ended."""
        query = "select * from version where id > ? order by id"
        with self._opened() as database, _writing(database):
            rows = database.execute(query, (last,)).fetchall()
        return max((row[0] for row in rows), default=last), self._latest(rows)

    def get(self, namespace: str) -> Version | None:
        record.check(namespace)
        with self._opened() as database:
            return self._last(database, namespace)

    def put(self, namespace: str, change: Change, expected: Expected) -> Version:
        record.check(namespace, change)
        with self._opened() as database, _writing(database):
            version = record.successor(namespace, self._last(database, namespace), change, expected, self._clock())
            content = version.content
            texts = (content.dtab, content.policies) if content else (None, "")
            row = (namespace, version.number, version.at, version.who, version.why, *texts)
            database.execute("insert into version values (null, ?, ?, ?, ?, ?, ?, ?)", row)
        return version

    def version(self, namespace: str, number: int) -> Version | None:
        found = self.history(namespace, 1, number + 1)
        return found[0] if found and found[0].number == number else None

    def history(self, namespace: str, limit: int, before: int | None) -> list[Version]:
        record.check(namespace)
        query = "select * from version where namespace = ? and number < ? order by number desc limit ?"
        below = _MOST if before is None else max(0, min(before, _MOST))
        with self._opened() as database:
            rows = database.execute(query, (namespace, below, max(0, limit))).fetchall()
        return [self._version(namespace, row) for row in rows]

    def _last(self, database: sqlite3.Connection, namespace: str) -> Version | None:
        query = "select * from version where namespace = ? order by number desc limit 1"
        row = database.execute(query, (namespace,)).fetchone()
        return self._version(namespace, row) if row else None

    def _latest(self, rows: Iterable[_Row]) -> dict[str, Latest]:
        found: dict[str, Latest] = {}
        for row in rows:
            namespace = row[1].decode(errors="replace")
            try:
                found[namespace] = self._version(namespace, row)
            except Unreadable as error:
                found[namespace] = error
        return found

    def _version(self, namespace: str, row: _Row) -> Version:
        key = f"{self._file}, row {row[0]} ({namespace})"
        _, _, number, at, *texts = row
        if not record.is_name(namespace):
            raise record.unreadable(key, "no name of a namespace")
        try:
            who, why, dtab, policies = (None if text is None else text.decode() for text in texts)
        except UnicodeDecodeError:
            raise record.unreadable(key, "it is no text") from None
        content = None if dtab is None else Content(dtab, policies or "")
        return Version(namespace, number, at, who or "", why or "", content)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._open()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._told(error) from error

    def _open(self) -> sqlite3.Connection:
        if self._database is not None and self._inode != _inode(self._file):
            # SQLite would go on in the file that nobody can open any more.
            self.close()
            raise Unavailable(f"{self._file} was removed or replaced while it was in use")
        if self._database is None:
            if self._inode is not None and _inode(self._file) is None:
                raise Unavailable(f"{self._file} is gone: put it back, or restart to begin with an empty one")
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(
                self._file, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
            )
            self._prepare(self._database)
            self._inode = _inode(self._file)
        return self._database

    def _prepare(self, database: sqlite3.Connection) -> None:
        # Texts that are no UTF-8 would fail a whole query.
        database.text_factory = bytes
        database.execute("begin")  # somebody may be making the file at this moment
        (application,) = database.execute("pragma application_id").fetchone()
        (schema,) = database.execute("pragma user_version").fetchone()
        (tables,) = database.execute("select count(*) from sqlite_master").fetchone()
        database.execute("commit")
        is_new = (application, schema, tables) == (0, 0, 0)
        if not is_new and (application, schema) != (APPLICATION, SCHEMA):
            self.close()
            whose = f"schema {schema}, not {SCHEMA}" if application == APPLICATION else "another program's"
            raise Refused(f"{self._file} is not of this version of Tieline ({whose}); it is left as it is")
        database.execute("pragma synchronous = full")
        if is_new:
            with _alone(self._file.parent):
                database.execute("pragma journal_mode = wal")
                database.executescript(f"begin immediate; {_TABLE} commit;")

    def _told(self, error: Exception) -> StoreError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN and self._file.parent.is_dir() and not os.access(self._file.parent, os.W_OK):
            code = sqlite3.SQLITE_READONLY
        if code in _REFUSED:
            return Refused(f"{self._file}: {_REFUSED[code]} ({error})")
        return Unavailable(f"{self._file}: {_UNAVAILABLE.get(code, 'it cannot be used now')} ({error})")


@contextmanager
def _writing(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("begin immediate")
    try:
        yield
        database.execute("commit")
    finally:
        if database.in_transaction:
            database.execute("rollback")


@contextmanager
def _alone(folder: File) -> Iterator[None]:
    """For what SQLite does not wait: two that make one file at once. Not a lock on the file: that would be SQLite's."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _inode(file: File) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
