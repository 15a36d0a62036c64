"""Binds names anew, a slice at a time, so that first calls and Envoy are not kept waiting however many names there are.

Of a burst of changes the last one counts: what waits its turn is bound by what is in force when it comes. Who waits
keeps its place, so that no name waits for ever while one change follows the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from mesh.agent.binder import Binder
from mesh.agent.names import Key

SLICE_SECONDS = 0.005


class Rebinding:
    def __init__(self, binder: Binder, done: Callable[[], None]) -> None:
        """`done`: every name has been bound by what is in force now."""
        self._binder = binder
        self._done = done
        self._due: dict[Key, bool] = {}
        """Whether it is to be bound again in any case."""
        self._begun = asyncio.Event()
        self.longest_slice = 0.0
        """Seconds."""

    def all(self) -> None:
        for name in self._binder.names:
            self._due[name.id] = True
        self._begun.set()

    def touched(self) -> None:
        """Those that another table may lead elsewhere. For when nothing else has changed."""
        for name in self._binder.names:
            self._due.setdefault(name.id, False)
        self._begun.set()

    async def keep(self) -> None:
        while True:
            await self._begun.wait()
            self._slice()
            if not self._due:
                self._begun.clear()
                self._done()
            # Others' turn: the loop reads and writes its sockets before it comes back here.
            await asyncio.sleep(0)

    def _slice(self) -> None:
        began = now = time.perf_counter()
        while self._due and now - began < SLICE_SECONDS:
            key, anyway = next(iter(self._due.items()))
            del self._due[key]
            if (name := self._binder.names.get(key)) is not None:
                (self._binder.rebind if anyway else self._binder.follow)(name)
            now = time.perf_counter()
        self.longest_slice = max(self.longest_slice, now - began)
