"""Reads one file of the folder, whole. A regular file of bounded size and nothing else."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path as FilePath

from discovery.source import Misconfigured, Unavailable

MOST_BYTES = 500_000
_NO_SUCH_FILE = (errno.ENOENT, errno.ENAMETOOLONG)


def is_name(text: str) -> bool:
    """Hidden files, an editor's copies and what can't be a file of this folder are no names."""
    return bool(text) and not text.startswith(".") and not text.endswith("~") and "/" not in text and "\0" not in text


def read(folder: FilePath, name: str) -> bytes | None:
    """None: the folder is there and has no such file. Raises Unavailable or Misconfigured."""
    file = folder / name
    try:
        # Not blocking: opening a pipe would wait for its writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_SUCH_FILE:
            check(folder)
            return None
        raise Unavailable(f"{file}: {error.strerror}") from error
    try:
        return _content(file, descriptor)
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _content(file: FilePath, descriptor: int) -> bytes:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise Unavailable(f"{file}: a regular file expected")
    parts, size = [], 0
    while part := os.read(descriptor, MOST_BYTES + 1 - size):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise Unavailable(f"{file}: more than {MOST_BYTES:,} bytes; split the name or list fewer endpoints")
    return b"".join(parts)


def names(folder: FilePath) -> list[str]:
    """Raises as `read` does."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_name(entry.name) and entry.is_file())
    except OSError:
        check(folder)
        raise


def check(folder: FilePath) -> None:
    """Raises Misconfigured unless the folder is there."""
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        raise Misconfigured(f"{folder}: {error.strerror}; create the folder or correct `folder`") from error
    if not stat.S_ISDIR(mode):
        raise Misconfigured(f"{folder}: not a folder; correct `folder`")
