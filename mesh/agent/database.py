"""SQLite files: whether it is the place that fails or the content, and how a file is set aside."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path as File

_PLACE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def is_place(error: Exception, file: File) -> bool:
    """What is wrong is the place (full, read-only, not permitted), not the content."""
    if not isinstance(error, sqlite3.OperationalError):
        return isinstance(error, OSError)
    # One that Python raises itself has no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code == sqlite3.SQLITE_READONLY and os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        return False  # A header is damaged, and says that only a later SQLite may write to the file.
    return code & 0xFF in _PLACE


def set_aside(file: File) -> File:
    """What it is called from now on. Raises OSError."""
    aside = file.with_suffix(".unreadable")
    for beside in ("", "-wal", "-shm"):
        part = file.with_name(file.name + beside)
        if part.exists():
            part.replace(aside.with_name(aside.name + beside))
    return aside
