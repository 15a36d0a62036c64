"""Envoy as a child: started, restarted after a crash, hot-restarted on demand, drained at the end. One that an earlier
supervisor has left behind is taken over: to its callers, nothing has happened.

Hot restart: a second Envoy with the next epoch takes over the listening sockets, the first drains and leaves.
Source: Envoy documentation, "Hot restart", and its command line options.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from mesh.agent import child, envoy_admin, orphan
from mesh.agent.child import Running
from mesh.agent.keeper import MADE_OF

logger = logging.getLogger("tieline.supervisor")

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Envoy puts it (hot_restart_impl.cc, shm_open)
END_SECONDS = 2.0
LAST_CALL_SECONDS = 1.0
# The parent goes when its drain is over; the margin keeps Envoy's own requirement parent-shutdown > drain.
SHUTDOWN_MARGIN_SECONDS = 2


class EnvoyProcess:
    def __init__(self, arguments: list[str], run_dir: Path, drain_seconds: float) -> None:
        self._arguments = arguments
        self._run_dir = run_dir
        self._made_of = run_dir / MADE_OF
        self._base_id = run_dir / "envoy.base-id"
        self._admin = run_dir / "envoy.sock"
        self.drain_seconds = drain_seconds
        self._epoch = 0
        self._generations: list[Running] = []
        self._turn = asyncio.Event()
        self._pauses = child.Pauses()

    def hot_restart(self, arguments: list[str] | None = None) -> None:
        self._arguments = arguments or self._arguments
        self._turn.set()

    async def keep(self) -> None:
        """Runs until cancelled; then every generation is gone and its shared memory too."""
        try:
            if not await self._take_over():
                self._sweep()
                await self._start_first()
            while True:
                await self._next_event()
        finally:
            self._made_of.unlink(missing_ok=True)
            for process in self._generations:
                await child.end(process, END_SECONDS)
            self._sweep()

    async def _take_over(self) -> bool:
        """What an earlier supervisor has left, if it is of use: one that was draining takes no connections any more."""
        left = orphan.left(self._run_dir)
        if not left:
            return False
        if not (self._made_of.exists() and self._base_id.exists()):
            for process in left:
                await child.end(process, END_SECONDS)
            return False
        self._generations, self._epoch = list[Running](left), left[-1].epoch
        same = self._made_of.read_text() == orphan.made_of(self._arguments, self._run_dir)
        if not same:
            self._turn.set()
        fields = {"pid": left[-1].pid, "epoch": self._epoch, "hot_restart": not same}
        logger.warning("an Envoy without a supervisor goes on with this one", extra={"fields": fields})
        return True

    async def _next_event(self) -> None:
        newest = self._generations[-1]
        await child.first(newest.wait(), self._due())
        if newest.returncode is not None:
            await self._after_exit(newest)
        elif self._turn.is_set():
            self._turn.clear()
            await self._start_next()

    async def _due(self) -> None:
        """One hot restart at a time: at a second one, Envoy ends the oldest generation at once, requests and all.

        Source: Envoy, server.cc, InstanceBase::shutdownAdmin (sendParentTerminateRequest).
        """
        await self._turn.wait()
        for older in self._generations[:-1]:
            await older.wait()

    async def _after_exit(self, process: Running) -> None:
        self._generations.remove(process)
        alive = [older for older in self._generations if older.returncode is None]
        pause = self._pauses.after_exit()
        logger.error(
            "Envoy ended",
            extra={"fields": {"exit": process.returncode, "epoch": self._epoch, "starts_again_in_seconds": pause}},
        )
        if alive and self._epoch > 0:
            # The successor died while its parent still serves: the parent goes on, the same epoch may try again later.
            self._generations, self._epoch = alive, self._epoch - 1
            return
        await asyncio.sleep(pause)
        self._sweep()
        await self._start_first()

    async def _start_first(self) -> None:
        self._epoch, self._generations = 0, []
        await self._start(["--use-dynamic-base-id", "--base-id-path", str(self._base_id)])

    async def _start_next(self) -> None:
        self._generations = [process for process in self._generations if process.returncode is None]
        self._epoch += 1
        base_id = self._base_id.read_text().strip()
        await self._start(["--base-id", base_id, "--restart-epoch", str(self._epoch)])
        logger.info("Envoy hot restart", extra={"fields": {"epoch": self._epoch}})

    async def _start(self, generation: list[str]) -> None:
        self._pauses.begin()
        drain = max(1, round(self.drain_seconds))
        times = ["--drain-time-s", str(drain), "--parent-shutdown-time-s", str(drain + SHUTDOWN_MARGIN_SECONDS)]
        self._generations.append(await child.start(self._kept([*times, *generation]), outlives=True))
        self._made_of.write_text(orphan.made_of(self._arguments, self._run_dir))

    def _kept(self, more: list[str]) -> list[str]:
        return orphan.kept([*self._arguments, *more], self._run_dir)

    async def reopen_logs(self) -> None:
        """What was moved away is written no more."""
        try:
            await envoy_admin.post(self._admin, "/reopen_logs")
        except (OSError, EOFError, ValueError) as error:
            logger.warning("Envoy did not reopen its logs", extra={"fields": {"error": error}})

    async def drain(self) -> None:
        """Returns when no caller is connected any more, or when the drain time is over."""
        self._made_of.unlink(missing_ok=True)
        try:
            await envoy_admin.post(self._admin, "/drain_listeners?graceful")
            await self._no_caller_within(self.drain_seconds)
            # Who came since is served too, and nobody comes after this. Callers that keep connecting are still here.
            await envoy_admin.post(self._admin, "/drain_listeners")
            if not await self._no_caller_within(LAST_CALL_SECONDS):
                logger.warning("connections were still open at the end of the drain time")
        except (OSError, EOFError, ValueError) as error:
            logger.warning("Envoy could not be drained", extra={"fields": {"error": error}})

    async def _no_caller_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while await envoy_admin.downstream_connections(self._admin) > 0:  # noqa: ASYNC110 - Envoy offers no event
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        return True

    def _sweep(self) -> None:
        """Envoy leaves its shared memory behind; ours is known by the base id it wrote down."""
        if self._base_id.exists():
            number = self._base_id.read_text().strip()
            for kind in ("envoy_shared_memory", "envoy_hot_restart"):
                for leftover in SHARED_MEMORY.glob(f"{kind}_{number}*"):
                    leftover.unlink(missing_ok=True)
            self._base_id.unlink(missing_ok=True)
        self._admin.unlink(missing_ok=True)
