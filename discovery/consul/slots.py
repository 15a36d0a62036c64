"""Who may hold a connection for a blocking query.

A Consul agent lets one client address have 200 connections (`http_max_conns_per_client`) and cuts off the others. It
counts a blocking query until its wait has passed, also when the client is long gone. So a slot whose query was
cancelled stays taken until then. With more names than slots, waits become short and the slots go round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

SHORT_WAIT_SECONDS = 1.0
_READS_PER_SECOND = 50
_JITTER = 16
"""Consul adds up to a sixteenth to every wait."""


class Slots:
    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free = asyncio.Semaphore(capacity)
        self._taken = 0
        self._waiting = 0
        self._cancelled: list[asyncio.TimerHandle] = []

    async def take(self) -> bool:
        """False: none became free in a while, in which a plain read is due. Those who wait longest come first."""
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience()):
                await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        self._taken += 1
        return True

    async def borrow(self) -> bool:
        """For a name that does not exist: only while half of the slots are free, so it never delays one that does."""
        if self._waiting or self._taken * 2 >= self._capacity:
            return False
        await self._free.acquire()
        self._taken += 1
        return True

    def wait_seconds(self, wanted: float) -> float:
        return min(wanted, SHORT_WAIT_SECONDS) if self._waiting else wanted

    @contextmanager
    def held(self, wait: float) -> Iterator[None]:
        """Gives back the slot taken before: at once, or when Consul has given up a query that was cancelled."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + wait + wait / _JITTER
        try:
            yield
        except asyncio.CancelledError:
            self._cancelled.append(loop.call_at(ends, self._release))
            self._cancelled = [timer for timer in self._cancelled if timer.when() > loop.time()]
            raise
        except BaseException:
            self._release()
            raise
        else:
            self._release()

    def close(self) -> None:
        for timer in self._cancelled:
            timer.cancel()
        self._cancelled.clear()

    def _patience(self) -> float:
        return max(SHORT_WAIT_SECONDS, (self._taken + self._waiting) / _READS_PER_SECOND)

    def _release(self) -> None:
        self._taken -= 1
        self._free.release()
