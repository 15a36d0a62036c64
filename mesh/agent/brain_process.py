"""The brain as a child: started, watched through its heartbeat, restarted. Callers of bound names don't notice."""

from __future__ import annotations

import asyncio
import logging
import os
from asyncio.subprocess import Process
from collections.abc import Callable

from mesh.agent import child

logger = logging.getLogger("tieline.supervisor")

PIPE_VARIABLE = "TIELINE_SUPERVISOR_FD"
HEARTBEAT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
END_SECONDS = 5.0


class BrainProcess:
    def __init__(self, arguments: list[str], on_ready: Callable[[], None]) -> None:
        self._arguments = arguments
        self._on_ready = on_ready
        self._announced = False
        self._process: Process | None = None
        self._pauses = child.Pauses()

    def replace(self, arguments: list[str]) -> None:
        """Start anew with other arguments: ends the present one, `keep` starts the next."""
        self._arguments = arguments
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

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
        reading, writing = os.pipe()
        try:
            environment = {**os.environ, PIPE_VARIABLE: str(writing), "GRPC_ENABLE_FORK_SUPPORT": "0"}
            self._process = process = await child.start(self._arguments, pass_fds=(writing,), env=environment)
        finally:
            os.close(writing)
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(reading, process))
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
