"""The threads in which Docker's SDK waits. One per call: a dockerd that hangs can exhaust nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """Made within a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, function: Callable[[], T]) -> T:
        """Cancelling leaves the thread to its call; it dies with the process, or when the call's connection is cut."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        self._running += 1
        self._idle.clear()
        threading.Thread(target=self._work, args=(future, function), name="docker", daemon=True).start()
        return await asyncio.wrap_future(future)

    async def ended(self, within: float) -> bool:
        """Whether no call is left after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._idle.wait()
        return self._running == 0

    def _work(self, future: Future[T], function: Callable[[], T]) -> None:
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - whoever waits for the result raises it
            future.set_exception(error)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()
