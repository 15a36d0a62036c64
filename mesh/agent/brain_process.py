"""The brain as a child: started, watched through its heartbeat, restarted. Callers of bound names don't notice.

The first one is begun before the configuration has been looked at, because what it imports takes the longest time of a
start. It waits to be told to go on, and ends when its supervisor has ended or does not want it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import dataclass

from mesh.agent import child

logger = logging.getLogger("tieline.supervisor")

PIPE_VARIABLE = "TIELINE_SUPERVISOR_FD"
GO_VARIABLE = "TIELINE_GO_FD"
GO = b"go"
HEARTBEAT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
END_SECONDS = 5.0


def arguments(config: str) -> list[str]:
    return [sys.executable, "-m", "mesh.agent.brain_start", config]


@dataclass(frozen=True, slots=True)
class Begun:
    """`beats`: where it is heard; `go`: where it is told to go on. Both are file descriptors of ours."""

    process: Process
    beats: int
    go: int

    async def abandon(self) -> None:
        os.close(self.go)
        os.close(self.beats)
        await child.end(self.process, END_SECONDS)


async def begin(arguments: list[str]) -> Begun:
    beats, beating = os.pipe()
    going, go = os.pipe()
    try:
        told = {PIPE_VARIABLE: str(beating), GO_VARIABLE: str(going), "GRPC_ENABLE_FORK_SUPPORT": "0"}
        process = await child.start(arguments, pass_fds=(beating, going), env={**os.environ, **told})
    except BaseException:
        os.close(beats)
        os.close(go)
        raise
    finally:
        os.close(beating)
        os.close(going)
    return Begun(process, beats, go)


class BrainProcess:
    """`begun`: the first one."""

    def __init__(self, arguments: list[str], begun: Begun, on_ready: Callable[[], None]) -> None:
        self._arguments = arguments
        self._begun: Begun | None = begun
        self._on_ready = on_ready
        self._announced = False
        self._process: Process | None = None
        self._pauses = child.Pauses()

    def replace(self, arguments: list[str]) -> None:
        """Start anew with other arguments: ends the present one, `keep` starts the next."""
        self._arguments = arguments
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            # What it writes last may be for a disk that hangs.
            asyncio.get_running_loop().call_later(END_SECONDS, _kill, self._process)

    async def keep(self) -> None:
        """Runs until cancelled; then the brain is gone."""
        while True:
            self._pauses.begin()
            code = await self._run_once()
            pause = self._pauses.after_exit()
            logger.log(
                logging.INFO if code == 0 else logging.ERROR,
                "the brain ended; Envoy goes on with what it has",
                extra={"fields": {"exit": code, "starts_again_in_seconds": pause}},
            )
            await asyncio.sleep(pause)

    async def _run_once(self) -> int:
        begun, self._begun = self._begun or await begin(self._arguments), None
        self._process = process = begun.process
        with contextlib.suppress(BrokenPipeError):  # It has ended already, which is seen below.
            os.write(begun.go, GO)
        os.close(begun.go)
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(begun.beats, process))
                code = await process.wait()
                listening.cancel()
        finally:
            await child.end(process, END_SECONDS)
        return code

    async def _listen(self, reading: int, process: Process) -> None:
        """A line `ready` once, a line of anything at least every HEARTBEAT_SECONDS; a silent brain is ended."""
        reader = asyncio.StreamReader()
        pipe = os.fdopen(reading, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await asyncio.wait_for(reader.readline(), SILENCE_SECONDS):
                if line == b"ready\n" and not self._announced:
                    self._announced = True
                    self._on_ready()
        except TimeoutError:
            logger.error("the brain is silent; it is ended and started again")
            process.kill()
        finally:
            transport.close()


def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
