"""Which files of one folder changed: by inotify where that is to be had, else by looking every second."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path as FilePath
from typing import Protocol

logger = logging.getLogger("tieline.files")

LOOK_SECONDS = 1.0
_Stamp = tuple[int, int, int] | None


class Changes(Protocol):
    def watched(self, name: str) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever this file may have changed. From here on no change is missed."""
        ...

    def is_being_written(self, name: str) -> bool:
        """What it holds now is not to be believed. Its event is set when it is."""
        ...

    def is_still_open(self, name: str) -> bool:
        """It may be read, though its writer has not closed it."""
        ...

    def close(self) -> None: ...


def changes(folder: FilePath) -> Changes:
    if sys.platform != "linux":
        return _looking(folder, f"{sys.platform} has no inotify")
    # Elsewhere asyncinotify can't be imported.
    from discovery.files.inotify import Watching

    try:
        return Watching(folder)
    except OSError as error:
        return _looking(folder, f"{error.strerror}; raise fs.inotify.max_user_instances or max_user_watches")


def _looking(folder: FilePath, why: str) -> Changes:
    fields = {"folder": folder, "why": why}
    logger.warning("the folder can't be watched, its files are looked at every second", extra={"fields": fields})
    return Looking(folder)


class Looking:
    """A file counts as changed when it differs from before and has then been the same for one look."""

    def __init__(self, folder: FilePath, look_seconds: float = LOOK_SECONDS) -> None:
        self._folder = folder
        self._look_seconds = look_seconds
        self._loop = asyncio.get_running_loop()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._stamps: dict[str, _Stamp] = {}
        self._writing: set[str] = set()
        self._timer = self._loop.call_later(self._look_seconds, self._look)

    def close(self) -> None:
        self._timer.cancel()

    @contextmanager
    def watched(self, name: str) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        if name not in self._watchers:
            self._stamps[name] = self._stamp(name)
        self._watchers.setdefault(name, set()).add(changed)
        try:
            yield changed
        finally:
            self._watchers[name].remove(changed)
            if not self._watchers[name]:
                del self._watchers[name], self._stamps[name]
                self._writing.discard(name)

    def is_being_written(self, name: str) -> bool:
        return name in self._writing

    def is_still_open(self, name: str) -> bool:
        """It can't be told, so a last line without its end is believed."""
        del name
        return False

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._look_seconds, self._look)
        for name, watchers in self._watchers.items():
            stamp = self._stamp(name)
            if stamp != self._stamps[name]:
                self._stamps[name] = stamp
                self._writing.add(name)
            elif name in self._writing:
                self._writing.discard(name)
                for changed in watchers:
                    changed.set()

    def _stamp(self, name: str) -> _Stamp:
        try:
            found = os.stat(self._folder / name)  # noqa: PTH116 - without a Path per file and second
        except (OSError, ValueError):
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
