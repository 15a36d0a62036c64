"""Which apps are to be asked for: each once, however often it changes, and never twice at the same time."""

from __future__ import annotations

import asyncio

from discovery.path import Path


class Pending:
    def __init__(self) -> None:
        self._waiting: dict[Path, None] = {}
        self._under_way: set[Path] = set()
        self._changed = asyncio.Event()

    def add(self, path: Path) -> None:
        """An app that is being asked for is asked for again: the answer may be older than the change."""
        self._waiting[path] = None
        self._changed.set()

    async def take(self) -> Path:
        """The one that waits longest. It is under way until `done`."""
        while (path := self._next()) is None:
            self._changed.clear()
            await self._changed.wait()
        del self._waiting[path]
        self._under_way.add(path)
        return path

    def done(self, path: Path) -> None:
        self._under_way.discard(path)
        if path in self._waiting:
            self._changed.set()

    def _next(self) -> Path | None:
        return next((path for path in self._waiting if path not in self._under_way), None)
