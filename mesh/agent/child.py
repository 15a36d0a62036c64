"""Starting a child, which outlives the supervisor only if it shall; pausing between restarts of what keeps dying."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Protocol

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def start(
    arguments: list[str], *, pass_fds: tuple[int, ...] = (), env: dict[str, str] | None = None, outlives: bool = False
) -> Process:
    """The child gets SIGTERM from the kernel when the supervisor dies, by whatever cause (prctl(2)); unless it
    `outlives` it."""
    return await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=pass_fds,
        env=env,
        # Safe here: this process has one thread.
        preexec_fn=None if outlives else _die_with_parent,
        # A Ctrl-C in a terminal goes to the supervisor alone; it decides the order of the end.
        start_new_session=True,
    )


async def first(*coroutines: Coroutine[object, object, object]) -> None:
    """Returns when one of them does; the others are cancelled."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(coroutine) for coroutine in coroutines]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()


class Running(Protocol):
    """A process, a child or not."""

    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


async def end(child: Running, patience_seconds: float) -> None:
    """SIGTERM, then SIGKILL. Returns when the child is gone."""
    if child.returncode is not None:
        return
    child.terminate()
    try:
        async with asyncio.timeout(patience_seconds):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


@dataclass(slots=True)
class Pauses:
    """How long to wait before starting again: at once the first time, then doubling; forgotten after a quiet minute."""

    first_seconds: float = 0.1
    most_seconds: float = 5.0
    quiet_seconds: float = 60.0
    _next: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        self._started = time.monotonic()

    def after_exit(self) -> float:
        if time.monotonic() - self._started > self.quiet_seconds:
            self._next = 0.0
        pause = self._next
        self._next = min(max(self.first_seconds, self._next * 2), self.most_seconds)
        return pause
