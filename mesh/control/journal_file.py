"""The journal's file: one SQLite database of what changed when. Content is kept once, however often it comes back.

    run      when this process, or one before it, kept the journal: what lies between two runs is not known, and why
    change   a name's state from a moment on; `null`: nobody wants it any more
    version  a namespace's version in force from a moment on

A state holds until the next change of that name, or until its run ends. WAL with synchronous=NORMAL: a power cut loses
the last moments, it doesn't corrupt.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as File

from mesh.agent import database

logger = logging.getLogger("tieline.journal")

VERSION = 1
LOCKED_SECONDS = 0.5
"""Nobody else writes to it."""
BATCH = 10_000
"""Rows that are deleted at once."""
FORGOTTEN = ""
"""Why nothing is known of the time before a run: it is too long ago."""
PRUNED_SHARE = 0.1
"""Of the changes, at once, when there is no room."""
_SCHEMA = f"""
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists run (began real primary key, heard real not null, why text not null) without rowid;
create table if not exists content (id integer primary key, hash blob unique not null, text text not null);
create table if not exists name (id integer primary key, path text unique not null);
create table if not exists change (
    name integer, at real, since real, content integer not null, primary key (name, at)) without rowid;
create table if not exists version (namespace text, at real, content integer not null, primary key (namespace, at))
    without rowid;
create index if not exists change_at on change (at);
create index if not exists change_content on change (content);
pragma user_version = {VERSION};
"""
# ?1: from when on all is kept; ?2: when the run began that went on then. A state of an earlier run says nothing of it.
_FORGET_BEFORE = (
    """delete from change where (name, at) in (select c.name, c.at from change c where c.at < ?1 and (c.at < ?2 or
    exists (select 1 from change l where l.name = c.name and l.at > c.at and l.at <= ?1)) limit ?3)""",
    """delete from version where (namespace, at) in (select c.namespace, c.at from version c where c.at < ?1 and (
    c.at < ?2 or exists (select 1 from version l where l.namespace = c.namespace and l.at > c.at and l.at <= ?1))
    limit ?3)""",
)
_FORGET_ALL = (
    "delete from change",
    "delete from version",
    "delete from name",
    "delete from content",
    "delete from run",
)
_SAID_THEN = ("update change set at = ?1 where at < ?1", "update version set at = ?1 where at < ?1")


class Unwritable(Exception):
    """The place can't be used now; the text says why."""


class NoRoom(Exception):
    """Even the present does not fit; all of it has been forgotten. The text says how much there may be."""


@dataclass(frozen=True, slots=True)
class Row:
    """`what`: a path or a namespace. `text`: the state or version from `at` on."""

    what: str
    at: float
    since: float
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """`why`: why nothing is known of the time before it."""

    began: float
    heard: float
    why: str


class JournalFile:
    def __init__(self, file: File, most_bytes: int) -> None:
        self.file = file
        self._most_bytes = most_bytes
        self._database: sqlite3.Connection | None = None
        self._using = threading.Lock()
        self._ended = False

    def begin(self, now: float, why: str) -> None:
        """A run begins. A file that can't be read is set aside. Raises Unwritable."""
        try:
            self._begin(now, why)
        except (OSError, sqlite3.Error, ValueError) as error:
            self._failed(error)
            self._begin(now, why)

    def _begin(self, now: float, why: str) -> None:
        with self._using, self._opened() as found:
            found.execute("insert or replace into run values (?, ?, ?)", (now, now, why))

    def write(self, now: float, changes: Sequence[Row], versions: Sequence[Row]) -> None:
        """All of it or nothing; with it, all that happened until `now` is told. Raises Unwritable."""
        try:
            with self._using, self._opened() as found:
                found.execute("begin")
                found.execute("update run set heard = ? where began = (select max(began) from run)", (now,))
                for row in changes:
                    key = row.what, row.at, row.since, _content(found, row.text)
                    found.execute("insert or ignore into name (path) values (?)", (row.what,))
                    found.execute("insert or replace into change select id, ?2, ?3, ?4 from name where path = ?1", key)
                for row in versions:
                    version = row.what, row.at, _content(found, row.text)
                    found.execute("insert or replace into version values (?, ?, ?)", version)
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            raise Unwritable(str(error)) from error

    def prune(self, oldest: float) -> None:
        """Forgets what lies before `oldest`, and as much more as there is no room for. Raises Unwritable, NoRoom."""
        try:
            with self._using, self._opened() as found:
                _forget(found, oldest)
                while _bytes(found) > self._most_bytes and (cut := _first_share(found)) is not None:
                    _forget(found, cut)
                if _bytes(found) > self._most_bytes:
                    _forget_all(found)
                    raise NoRoom(f"what is observed now takes more than the {self._most_bytes} bytes it may take")
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
            raise Unwritable(str(error)) from error

    def read(self) -> sqlite3.Connection:
        """A connection of its own, to be closed by who asked."""
        return sqlite3.connect(self.file, isolation_level=None)

    def end(self) -> None:
        """It is not written any more, also by whom is about to."""
        with self._using:
            self._ended = True
            self._close()

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _opened(self) -> sqlite3.Connection:
        if self._ended:
            raise Unwritable("the journal has ended")
        if self._database is None:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(self.file, LOCKED_SECONDS, check_same_thread=False, isolation_level=None)
            if self._database.execute("pragma user_version").fetchone()[0] not in (0, VERSION):
                raise ValueError("written by another version of Tieline")
            self._database.executescript(_SCHEMA)
        return self._database

    def _failed(self, error: Exception) -> None:
        """Content that can't be read is set aside, so that the next run begins a new file. Raises Unwritable."""
        with self._using:  # Another thread may be at it: SQLite crashes when it is closed meanwhile.
            self._close()
            if database.is_place(error, self.file):
                raise Unwritable(str(error)) from error
            aside = database.set_aside(self.file)
        fields = {"file": self.file, "error": error, "kept_as": aside}
        logger.warning("the journal can't be read, it is set aside and begins anew", extra={"fields": fields})


def _bytes(found: sqlite3.Connection) -> int:
    pages, free, size = (
        found.execute(f"pragma {each}").fetchone()[0] for each in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _content(found: sqlite3.Connection, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    found.execute("insert or ignore into content (hash, text) values (?, ?)", (digest, text))
    return int(found.execute("select id from content where hash = ?", (digest,)).fetchone()[0])


def _forget(found: sqlite3.Connection, cut: float) -> None:
    """What is known of the time from `cut` on stays: what held then counts as said then."""
    began = found.execute("select max(began) from run where began <= ?1 and heard >= ?1", (cut,)).fetchone()[0]
    useless = cut if began is None else began
    for statement in _FORGET_BEFORE:
        while found.execute(statement, (cut, useless, BATCH)).rowcount > 0:
            pass
    for statement in _SAID_THEN:
        found.execute(statement, (cut,))
    found.execute("delete from run where heard < ?", (cut,))
    found.execute("update run set began = ?1, why = ?2 where began < ?1", (cut, FORGOTTEN))
    _sweep(found)


def _sweep(found: sqlite3.Connection) -> None:
    """Names and content that nothing speaks of any more."""
    found.execute("delete from name where id not in (select name from change)")
    found.execute(
        "delete from content where id not in (select content from change union all select content from version)"
    )


def _first_share(found: sqlite3.Connection) -> float | None:
    """Until when the first PRUNED_SHARE of the changes lie; None when that is no time."""
    first, last, count = found.execute("select min(at), max(at), count(*) from change").fetchone()
    if not count or first == last:
        return None
    at = found.execute("select at from change order by at limit 1 offset ?", (int(count * PRUNED_SHARE),)).fetchone()[0]
    return float(at) if at > first else float(last)


def _forget_all(found: sqlite3.Connection) -> None:
    for statement in _FORGET_ALL:
        found.execute(statement)
