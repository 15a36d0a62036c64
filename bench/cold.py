"""The first request of a cold name: what it adds to a request, and that many callers of one name cause one binding.

"Added" is the first call of a name less the median of later calls of bound names, on the same connection.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import uvloop

from bench.caller import Caller
from bench.processes import percentile
from bench.report import arguments, finish, show
from scripts.running import Agent, agent, folder, service

CALLERS = 200


def _settings(place: Path, port: int, count: int) -> dict[str, object]:
    disco = place / "disco"
    disco.mkdir()
    for number in range(count + 1):
        (disco / f"name-{number}").write_text(f"127.0.0.1 {port}\n")
    return {"dtab": "/svc => /#/files", "sources": [{"kind": "files", "folder": str(disco)}]}


async def _metric(running: Agent, name: str) -> float:
    _, text = await running.ask("/metrics")
    return sum(
        float(line.split()[-1]) for line in text.splitlines() if line.startswith(name) and "_created" not in line
    )


async def _one_by_one(running: Agent, count: int) -> tuple[list[float], float, dict[str, str]]:
    async with Caller(running.port) as caller:
        first = [await caller.timed(f"name-{number}") for number in range(count)]
        warm = median([await caller.timed(f"name-{number % count}") for number in range(1000)])
    return first, warm, caller.failed


async def _together(running: Agent, name: str) -> tuple[int, float]:
    """CALLERS connections ask for one cold name at once: how many failed, how many names were bound for it."""
    before = await _metric(running, "tieline_names_asked_total")
    callers = [Caller(running.port) for _ in range(CALLERS)]
    for caller in callers:
        await caller.__aenter__()
    async with asyncio.TaskGroup() as tasks:
        for caller in callers:
            tasks.create_task(caller.timed(name))
    for caller in callers:
        await caller.__aexit__()
    return sum(len(caller.failed) for caller in callers), await _metric(running, "tieline_names_asked_total") - before


async def measure(count: int) -> dict[str, object]:
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        async with service("ok") as port:
            running = stack.enter_context(agent(place, _settings(place, port, count)))
            await running.until_ready()
            first, warm, failed = await _one_by_one(running, count)
            failed_together, bound = await _together(running, f"name-{count}")
    added = [seconds - warm for seconds in first]
    return {
        "benchmark": "cold",
        "names": count,
        "added_p50_ms": percentile(added, 0.5) * 1000,
        "added_p99_ms": percentile(added, 0.99) * 1000,
        "added_max_ms": max(added) * 1000,
        "warm_p50_ms": warm * 1000,
        "failed": len(failed),
        "failures": dict(list(failed.items())[:5]),
        "callers_of_one_cold_name": CALLERS,
        "binds_for_them": bound,
        "failed_of_them": failed_together,
    }


def main() -> None:
    options = arguments(__doc__ or "")
    figures = uvloop.run(measure(1_000 if options.quick else 10_000))
    show("cold names", ["figure", "value"], [[key, value] for key, value in figures.items() if key != "benchmark"])
    finish(figures, as_json=options.json)


if __name__ == "__main__":
    main()
