"""One control plane, a thousand agents: how soon all have a change, and what that costs.

The control plane is a process of its own on one core. The agents are lean (`bench.lean_agents`): real frames on real
WebSockets, all in this process, on the other cores. Each wants 20 names of 3 endpoints, one of them the same for all.
A change of an observation begins with a file that is renamed into place; one of the table, with a line on the control
plane's input; the clock stops when each agent has the frame. An update is one frame that has arrived at one agent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.lean_agents import Fleet, raise_limit
from bench.processes import cpu_seconds, percentile, rss_megabytes
from bench.replica import CORE
from bench.report import arguments, finish, show
from discovery.backoff import Backoff
from scripts.ports import free_port
from scripts.running import folder

SHARED, NAMES, OF_EACH = "shared", 400, 20
_RECONNECTS = Backoff(first=0.5, most=10.0)
"""As `discovery.remote.link` does."""


@dataclass
class Replica:
    port: int
    place: Path
    process: asyncio.subprocess.Process

    def put_table(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"next\n")

    def put(self, name: str, last: int) -> None:
        fresh = self.place / ".next"
        fresh.write_text(f"10.1.{last >> 8 & 255}.{last & 255} 80\n10.0.0.2 80\n10.0.0.3 80\n")
        fresh.rename(self.place / name)

    @property
    def rss(self) -> float:
        return rss_megabytes(self.process.pid)

    @property
    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


async def start(port: int, place: Path) -> Replica:
    command = [sys.executable, "-m", "bench.replica", str(port), str(place)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    if not await process.stdout.readline():
        raise RuntimeError("the control plane did not start")
    return Replica(port, place, process)


@asynccontextmanager
async def replica() -> AsyncIterator[Replica]:
    with folder() as place:
        running = await start(free_port(), place)
        for number in range(NAMES):
            running.put(f"name-{number}", number)
        running.put(SHARED, 1)
        try:
            yield running
        finally:
            if running.process.returncode is None:
                await running.kill()


def names(number: int) -> list[str]:
    own = [f"/#/files/name-{(number * 7 + index * 13) % NAMES}" for index in range(OF_EACH - 1)]
    return [f"/#/files/{SHARED}", *own]


def _milliseconds(times: list[float]) -> dict[str, object]:
    return {
        "p50_ms": percentile(times, 0.5) * 1000,
        "p99_ms": percentile(times, 0.99) * 1000,
        "max_ms": max(times) * 1000,
    }


async def changes(running: Replica, fleet: Fleet, rounds: int) -> dict[str, object]:
    tables: list[float] = []
    observations: list[float] = []
    for turn in range(rounds):
        awaited = fleet.await_all(b"/#/table-%d" % (turn + 2))
        running.put_table()
        await awaited.all.wait()
        tables += awaited.times
        awaited = fleet.await_all(b"10.1.%d.%d" % divmod(turn + 2, 256))
        running.put(SHARED, turn + 2)
        await awaited.all.wait()
        observations += awaited.times
    return {"table": _milliseconds(tables), "observation": _milliseconds(observations)}


async def sustained(running: Replica, fleet: Fleet, seconds: float) -> dict[str, object]:
    """The next change is made when all have the last one."""
    frames, cpu, began = fleet.frames, running.cpu, time.perf_counter()
    made = 0
    while time.perf_counter() - began < seconds:
        made += 1
        awaited = fleet.await_all(b"10.1.%d.%d" % divmod(1_000 + made, 256))
        running.put(SHARED, 1_000 + made)
        await awaited.all.wait()
    took = time.perf_counter() - began
    delivered = fleet.frames - frames
    used = running.cpu - cpu
    return {
        "changes": made,
        "updates_per_second": delivered / took,
        "core_percent": used / took * 100,
        "cpu_us_per_update": used / delivered * 1e6,
    }


async def storms(running: Replica, fleet: Fleet) -> tuple[Replica, dict[str, object]]:
    fleet.reconnects = Backoff(first=0.001, most=0.1)
    began = time.perf_counter()
    fleet.cut()
    await asyncio.sleep(0)
    await fleet.until_complete()
    same = time.perf_counter() - began
    began = time.perf_counter()
    for agent in fleet.agents:
        agent.forget()
    fleet.cut()
    await asyncio.sleep(0)
    await fleet.until_complete()
    whole = time.perf_counter() - began
    fleet.reconnects = _RECONNECTS
    began = time.perf_counter()
    await running.kill()
    again = await start(running.port, running.place)
    await fleet.until_complete()
    killed = time.perf_counter() - began
    fleet.reconnects = None
    return again, {"resumed_s": same, "from_nothing_s": whole, "control_plane_killed_s": killed}


async def idle(count: int, seconds: float) -> dict[str, object]:
    """Long enough for each stream to be pinged."""
    async with replica() as running:
        fleet = Fleet(running.port, count, lambda _: ())
        before = running.rss
        await fleet.connect()
        after, cpu = running.rss, running.cpu
        await asyncio.sleep(seconds)
        percent = (running.cpu - cpu) / seconds * 100
        held = fleet.complete
        fleet.cut()
        await asyncio.sleep(0)
    return {"streams": count, "held": held, "mb_per_stream": (after - before) / count, "core_percent": percent}


async def _all(agents: int, idle_streams: int, idle_seconds: float, rounds: int, seconds: float) -> dict[str, object]:
    async with replica() as running:
        empty = running.rss
        fleet = Fleet(running.port, agents, names)
        began = time.perf_counter()
        await fleet.connect()
        connected = time.perf_counter() - began
        figures: dict[str, object] = {
            "agents": agents,
            "first_connect_s": connected,
            "rss_mb": running.rss,
            "mb_per_agent": (running.rss - empty) / agents,
        }
        figures["change"] = await changes(running, fleet, rounds)
        figures["sustained"] = await sustained(running, fleet, seconds)
        figures["mb_per_agent_after"] = (running.rss - empty) / agents
        running, figures["reconnect"] = await storms(running, fleet)
        fleet.cut()
        await asyncio.sleep(0)
        if running.process.returncode is None:
            await running.kill()
    figures["idle"] = await idle(idle_streams, idle_seconds)
    return figures


def _rows(figures: dict[str, object], before: str = "") -> list[list[object]]:
    rows: list[list[object]] = []
    for key, value in figures.items():
        rows += _rows(value, f"{before}{key}.") if isinstance(value, dict) else [[before + key, value]]
    return rows


def main() -> None:
    options = arguments(__doc__ or "")
    raise_limit()
    others = os.sched_getaffinity(0) - {CORE}
    if others:
        os.sched_setaffinity(0, others)
    sizes = (200, 1_000, 13.0, 10, 2.0) if options.quick else (1_000, 5_000, 30.0, 40, 5.0)
    figures = uvloop.run(_all(*sizes))
    show("one control plane and its agents", ["figure", "value"], _rows(figures))
    finish({"benchmark": "fanout", **figures}, as_json=options.json)


if __name__ == "__main__":
    main()
