"""When the names of one source are asked for again: a platform that is down is not asked by all of them at once.

Each name waits as its back-off says, and longer the more names wait with it. When the first of them is answered, those
that were made to wait longer need not wait any more: they go one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

RETRIES_PER_SECOND = 100.0
"""Of one source that answers nobody."""
RECOVERIES_PER_SECOND = 1_000.0
"""Of one that answers again."""


class Retries:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._stretched = False

    def later(self, retry: Callable[[], None], seconds: float) -> None:
        """Calls `retry` once. `seconds`: what its back-off says."""
        self.cancel(retry)
        crowd = len(self._waiting) / RETRIES_PER_SECOND
        if crowd > seconds:
            seconds, self._stretched = crowd, True
        self._schedule(retry, seconds)

    def cancel(self, retry: Callable[[], None]) -> None:
        timer = self._waiting.pop(retry, None)
        if timer is not None:
            timer.cancel()

    def answered(self) -> None:
        if not self._stretched:
            return
        self._stretched = False
        for place, (retry, timer) in enumerate(list(self._waiting.items())):
            soon = place / RECOVERIES_PER_SECOND
            if timer.when() > self._loop.time() + soon:
                timer.cancel()
                self._schedule(retry, soon)

    def _schedule(self, retry: Callable[[], None], seconds: float) -> None:
        def due() -> None:
            self._waiting.pop(retry, None)
            retry()

        self._waiting[retry] = self._loop.call_later(seconds, due)
