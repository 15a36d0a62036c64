"""Versions in one SQLite file, for one machine: what `VersionFile` does, in a thread, and a watch.

Who writes appends to the `-wal` file, of which inotify tells, in this process or another. It tells too early: the
version can be read only when its writer is through, of which nothing tells. So what is new is read under the lock that
the writer still holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path as File
from types import TracebackType
from typing import Self, TypeVar

from asyncinotify import Event, Inotify, Mask

from mesh.control.store.protocol import Expected, Latest, Unavailable
from mesh.control.store.sqlite_file import BUSY_SECONDS, VersionFile
from mesh.control.version import Change, Version

T = TypeVar("T")

_CHANGES = Mask.MODIFY | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO


class SqliteStore:
    def __init__(self, file: File, busy_seconds: float = BUSY_SECONDS) -> None:
        """`busy_seconds`: how long another process may lock it."""
        self._file = file
        self._versions = VersionFile(file, busy_seconds=busy_seconds)
        self._thread = ThreadPoolExecutor(1, "store")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.shield(self._run(self._versions.close))
        finally:
            self._thread.shutdown(wait=False)

    async def current(self) -> dict[str, Latest]:
        return (await self._run(self._versions.current))[1]

    async def get(self, namespace: str) -> Version | None:
        return await self._run(partial(self._versions.get, namespace))

    async def put(self, namespace: str, change: Change, expected: Expected) -> Version:
        return await self._run(partial(self._versions.put, namespace, change, expected))

    async def version(self, namespace: str, number: int) -> Version | None:
        return await self._run(partial(self._versions.version, namespace, number))

    async def history(self, namespace: str, limit: int = 50, before: int | None = None) -> list[Version]:
        return await self._run(partial(self._versions.history, namespace, limit, before))

    async def watch(self) -> AsyncGenerator[dict[str, Latest]]:
        with self._inotify() as events:
            last, news = await self._run(self._versions.current)
            yield news
            while True:
                await self._written(events)
                last, news = await self._run(partial(self._versions.since, last))
                if news:
                    yield news

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    @contextmanager
    def _inotify(self) -> Iterator[Inotify]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            events = Inotify(sync_timeout=0)
        except OSError as error:
            raise Unavailable(f"{self._file} cannot be watched: {error}") from error
        with events:
            try:
                events.add_watch(self._file.parent, _CHANGES)
            except OSError as error:
                raise Unavailable(f"{self._file} cannot be watched: {error}") from error
            yield events

    async def _written(self, events: Inotify) -> None:
        """Returns when something has happened to the file; however much it was, it is one reading."""
        while not self._concerns(await events.get()):
            pass
        while events.sync_get() is not None:
            pass

    def _concerns(self, event: Event) -> bool:
        names = (self._file.name, f"{self._file.name}-wal")
        return bool(event.mask & Mask.Q_OVERFLOW) or (event.name is not None and event.name.name in names)
