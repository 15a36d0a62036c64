"""`Changes` by one inotify for all names of a folder.

A file that is being written tells nothing yet: an editor that truncates and writes would flash an empty list, and one
that writes line by line a half one. So a written file counts as changed when its writer closes it. A writer that never
closes is waited for until it has been quiet for `QUIET_SECONDS`; then the last line must have its end.

The parent is watched too, for the folder may be removed, made again, or be a link that is swapped. A link that changes
inside the folder may lead anywhere (a mounted configMap is a chain of them), so all names are told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path as FilePath

from asyncinotify import Event, Inotify, Mask, Watch

logger = logging.getLogger("tieline.files")

QUIET_SECONDS = 5.0
_ENTRIES = Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO
_FOLDER = _ENTRIES | Mask.MODIFY | Mask.CLOSE_WRITE | Mask.ATTRIB | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
_PARENT = _ENTRIES | Mask.ONLYDIR
_WHOLE = Mask.UNMOUNT | Mask.IGNORED | Mask.DELETE_SELF | Mask.MOVE_SELF


class Watching:
    """Raises OSError when there is no inotify to be had."""

    def __init__(self, folder: FilePath) -> None:
        self._folder = folder
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._writing: dict[str, asyncio.TimerHandle] = {}
        self._still_open: set[str] = set()
        self._watch: Watch | None = None
        self._inode: tuple[int, int] | None = None
        self._loop = asyncio.get_running_loop()
        self._inotify = Inotify(sync_timeout=0)
        try:
            self._arm()
        except OSError:
            self._inotify.close()
            raise
        self._loop.add_reader(self._inotify.fd, self._drain)

    def close(self) -> None:
        self._loop.remove_reader(self._inotify.fd)
        for timer in self._writing.values():
            timer.cancel()
        self._inotify.close()

    @contextmanager
    def watched(self, name: str) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        self._watchers.setdefault(name, set()).add(changed)
        try:
            self._arm_or_say()
            self._drain()
            yield changed
        finally:
            self._watchers[name].remove(changed)
            if not self._watchers[name]:
                del self._watchers[name]

    def is_being_written(self, name: str) -> bool:
        return name in self._writing

    def is_still_open(self, name: str) -> bool:
        return name in self._still_open

    def _arm(self) -> None:
        """Watches what the folder's path leads to now. Done before every reading too, in case an event was lost."""
        inode = _inode(self._folder)
        if inode is not None and inode == self._inode:
            return
        older, self._watch, self._inode = self._watch, None, None
        with suppress(FileNotFoundError, NotADirectoryError):
            self._inotify.add_watch(self._folder.parent, _PARENT)
            self._watch = self._inotify.add_watch(self._folder, _FOLDER)
            self._inode = inode
        if older is not None and (self._watch is None or older.wd != self._watch.wd):
            with suppress(OSError):
                self._inotify.rm_watch(older)

    def _arm_or_say(self) -> None:
        try:
            self._arm()
        except OSError as error:
            fields = {"folder": self._folder, "error": error.strerror}
            logger.warning("the folder can't be watched, it is read at every resync", extra={"fields": fields})

    def _drain(self) -> None:
        while (event := self._inotify.sync_get()) is not None:
            self._take(event)

    def _take(self, event: Event) -> None:
        name = event.name.name if event.name else ""
        if self._watch is None or event.watch is None or event.watch.wd != self._watch.wd:
            if event.mask & Mask.Q_OVERFLOW or name == self._folder.name:
                self._everything_changed()
        elif event.mask & _WHOLE:
            self._everything_changed()
        elif event.mask & Mask.MODIFY or (event.mask & Mask.CREATE and self._is_file(name)):
            self._is_written(name)
        elif event.mask & Mask.ATTRIB:
            self._tell(name)
        else:
            self._is_whole(name)
            if event.mask & (Mask.CREATE | Mask.MOVED_TO) and self._may_lead_elsewhere(name):
                self._everything_changed()

    def _is_file(self, name: str) -> bool:
        file = self._folder / name
        return file.is_file() and not file.is_symlink()

    def _may_lead_elsewhere(self, name: str) -> bool:
        """A file that is gone by now was renamed or removed, which is an event of its own."""
        entry = self._folder / name
        return entry.is_symlink() or entry.is_dir()

    def _is_written(self, name: str) -> None:
        self._settle(name)
        self._writing[name] = self._loop.call_later(QUIET_SECONDS, self._pauses, name)

    def _pauses(self, name: str) -> None:
        self._settle(name)
        self._still_open.add(name)
        self._tell(name)

    def _is_whole(self, name: str) -> None:
        self._settle(name)
        self._tell(name)

    def _settle(self, name: str) -> None:
        self._still_open.discard(name)
        if name in self._writing:
            self._writing.pop(name).cancel()

    def _tell(self, name: str) -> None:
        for changed in self._watchers.get(name, ()):
            changed.set()

    def _everything_changed(self) -> None:
        self._inode = None
        self._arm_or_say()
        self._still_open.clear()
        for name in self._watchers:
            self._tell(name)


def _inode(folder: FilePath) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
