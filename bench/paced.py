"""Requests at a rate that does not yield: each has its time, and waits for nobody but its own connection.

    python -m bench.paced PORT NAME RATE CONNECTIONS SECONDS   ->  a line `begun`, then one JSON line

Latency counts from the time that a request was due, so that a proxy that stalls is not asked less.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

import uvloop

from bench.caller import Caller
from bench.processes import percentile


@dataclass(frozen=True, slots=True)
class Paced:
    """`statuses`: how many answers of each."""

    statuses: dict[str, int]
    p50_ms: float
    p99_ms: float

    @property
    def asked(self) -> int:
        return sum(self.statuses.values())

    @property
    def failed(self) -> int:
        return self.asked - self.statuses.get("200", 0)


async def run(
    port: int, name: str, rate: float, connections: int, seconds: float, begun: Callable[[], object] = bool
) -> Paced:
    statuses, times = Counter[str](), list[float]()
    pause = connections / rate
    begun()
    start = time.perf_counter()

    async def call(number: int) -> None:
        due = start + number / rate
        async with Caller(port) as caller:
            while due < start + seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                try:
                    status, _ = await caller.call(name)
                    statuses[str(status)] += 1
                except (OSError, EOFError):
                    statuses["broken"] += 1
                    return
                times.append(time.perf_counter() - due)
                due += pause

    async with asyncio.TaskGroup() as tasks:
        for number in range(connections):
            tasks.create_task(call(number))
    p50, p99 = (percentile(times, share) * 1000 for share in (0.5, 0.99))
    return Paced(dict(statuses), p50, p99)


def main() -> None:
    port, name, rate, connections, seconds = sys.argv[1:]
    job = run(int(port), name, float(rate), int(connections), float(seconds), lambda: print("begun", flush=True))
    print(json.dumps(asdict(uvloop.run(job))))


if __name__ == "__main__":
    main()
