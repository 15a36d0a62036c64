"""The threads in which boto3 waits. They are few, die with the process, and end a call that nobody waits for."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]


class Threads:
    """`interrupt` is given the id of a thread whose call is not wanted any more; the call may then raise anything.

    `over` is given it when a call has ended: after that, no `interrupt` comes that was meant for this call.
    """

    def __init__(self, most: int, interrupt: Callable[[int], None], over: Callable[[int], None]) -> None:
        self._most = most
        self._interrupt = interrupt
        self._over = over
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._at_work: dict[Future[Any], int] = {}
        self._started = 0
        self._waiting = 0
        self._closed = False
        self._lock = threading.Lock()

    async def run(self, function: Callable[[], T]) -> T:
        assert not self._closed, "closed"
        future: Future[T] = Future()
        self._waiting += 1
        self._jobs.put((future, function))
        if self._waiting > self._started and self._started < self._most:
            self._started += 1
            # ThreadPoolExecutor's threads would be waited for when the process ends.
            threading.Thread(target=self._work, name="aws", daemon=True).start()
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._stop(future)
            raise
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._closed = True
        with self._lock:
            for thread in self._at_work.values():
                self._interrupt(thread)
        for _ in range(self._started):
            self._jobs.put(None)

    def _stop(self, future: Future[T]) -> None:
        with self._lock:  # so that the thread is not at something else meanwhile
            if future in self._at_work:
                self._interrupt(self._at_work[future])

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(*job)
            del job  # what it holds is not to be kept until there is another one

    def _do(self, future: Future[Any], function: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        with self._lock:
            self._at_work[future] = threading.get_ident()
        try:
            answered = partial(future.set_result, function())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the result raises it
            answered = partial(future.set_exception, error)
        with self._lock:
            self._over(self._at_work.pop(future))
        answered()
        del future, function, answered  # the error's traceback leads here: it would hold itself
