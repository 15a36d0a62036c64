"""The supervisor: starts the brain and Envoy, keeps each alive whatever happens to the other, and ends both. If it is
killed, the brain ends, and Envoy serves on until the next supervisor takes it over, or for a minute.

It stays small on purpose: no gRPC, no protobuf, no pydantic in this process, because starting children from a
process that has gRPC threads is flaky (grpc fork_posix). What to start is computed by `mesh.agent.plan`, elsewhere.

    SIGTERM, SIGINT   drain, then end
    SIGHUP            read the configuration again; a bad one is reported and the running one stays. Logs are reopened
    SIGUSR1           hot-restart Envoy (new process, same listeners, no request lost)
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from mesh.agent import brain_process, child, orphan
from mesh.agent.brain_process import BrainProcess
from mesh.agent.envoy_process import EnvoyProcess
from mesh.agent.log import configure
from mesh.agent.notify import notify

logger = logging.getLogger("tieline.supervisor")


@dataclass(frozen=True, slots=True)
class Plan:
    """What `mesh.agent.plan` prints: everything the supervisor needs to know of the configuration."""

    run_dir: str
    brain: list[str]
    envoy: list[str]
    bootstrap: str
    drain_seconds: float
    log_level: str
    log_format: str


class BadPlan(Exception):
    """The configuration can't be used; the text says why."""


async def read_plan(config: str) -> tuple[Plan, str]:
    """The plan, and what the configuration is warned of."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mesh.agent.plan", config, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await child.communicate()
    if child.returncode != 0:
        raise BadPlan(err.decode(errors="replace").strip())
    return Plan(**json.loads(out)), err.decode(errors="replace").strip()


class Supervisor:
    def __init__(self, config: str, plan: Plan, brain: brain_process.Begun) -> None:
        self._config = config
        self._plan = plan
        self.brain = BrainProcess(plan.brain, brain, self._on_ready)
        self.envoy = EnvoyProcess(plan.envoy, Path(plan.run_dir), plan.drain_seconds)
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()

    def _on_ready(self) -> None:
        logger.info("ready")
        notify("READY=1")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        async with asyncio.TaskGroup() as tasks:
            children = [tasks.create_task(each) for each in (self.brain.keep(), self.envoy.keep())]
            await self._obey()
            for keeping in children:
                keeping.cancel()

    async def _obey(self) -> None:
        while True:
            number = await self._signals.get()
            if number in (signal.SIGTERM, signal.SIGINT):
                notify("STOPPING=1")
                logger.info("stopping", extra={"fields": {"drain_seconds": self._plan.drain_seconds}})
                await self._drain_or_second_signal()
                return
            if number == signal.SIGUSR1:
                self.envoy.hot_restart()
            else:
                await self._reload()

    async def _drain_or_second_signal(self) -> None:
        await child.first(self.envoy.drain(), self._signals.get())

    async def _reload(self) -> None:
        try:
            plan, warnings = await read_plan(self._config)
        except BadPlan as bad:
            logger.error("the new configuration can't be used, the running one stays\n%s", bad)
            return
        if plan.run_dir != self._plan.run_dir:
            logger.error("run_dir can't change while the agent runs; restart it")
            return
        if warnings:
            logger.warning("the new configuration is used, with doubts\n%s", warnings)
        envoy_changed = (plan.envoy, plan.bootstrap) != (self._plan.envoy, self._plan.bootstrap)
        self._plan = plan
        configure(plan.log_level, plan.log_format)
        self.envoy.drain_seconds = plan.drain_seconds
        await self.envoy.reopen_logs()
        self.brain.replace(plan.brain)
        if envoy_changed:
            self.envoy.hot_restart(plan.envoy)
        logger.info("configuration read again", extra={"fields": {"envoy_hot_restart": envoy_changed}})


async def supervise(config: str) -> int:
    brain = await brain_process.begin(brain_process.arguments(config))
    try:
        plan, warnings = await read_plan(config)
    except BadPlan as bad:
        print(bad, file=sys.stderr)
        await brain.abandon()
        return 1
    for warning in warnings.splitlines():
        print(f"warning: {warning}", file=sys.stderr)
    configure(plan.log_level, plan.log_format)
    lock = (Path(plan.run_dir) / "agent.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another agent runs in {plan.run_dir}; end it, or give this one a run_dir of its own", file=sys.stderr)
        await brain.abandon()
        return 1
    with lock:
        orphan.write_down(Path(plan.run_dir))
        await Supervisor(config, plan, brain).run()
        for leftover in ("bootstrap.json", "agent.pid", "brain.lock", "agent.lock"):
            (Path(plan.run_dir) / leftover).unlink(missing_ok=True)
    logger.info("stopped")
    return 0


def main() -> None:
    sys.exit(asyncio.run(supervise(sys.argv[1])))


if __name__ == "__main__":
    main()
