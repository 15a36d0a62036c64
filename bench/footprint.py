"""What a host pays: memory and idle CPU of its processes, by the number of bound names × 10 endpoints."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench.caller import call_all
from bench.processes import cpu_seconds, rss_megabytes
from bench.report import arguments, finish, show
from scripts.running import Agent, agent, folder, service

ENDPOINTS = 10


def _settings(place: Path, port: int, count: int) -> dict[str, object]:
    disco = place / "disco"
    disco.mkdir()
    lines = "".join(f"127.0.0.{last} {port}\n" for last in range(1, ENDPOINTS + 1))
    for number in range(count):
        (disco / f"name-{number}").write_text(lines)
    return {"dtab": "/svc => /#/files", "sources": [{"kind": "files", "folder": str(disco)}]}


def _pids(running: Agent) -> dict[str, int]:
    return {"supervisor": running.process.pid, **running.children()}


async def _idle(running: Agent, seconds: float) -> dict[str, float]:
    """Per cent of one core, of each process."""
    pids = _pids(running)
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    return {name: (cpu_seconds(pid) - before[name]) / seconds * 100 for name, pid in pids.items()}


async def measure(count: int, settle: float, seconds: float) -> dict[str, object]:
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        # On all addresses of 127/8: ten endpoints, one service.
        async with service("ok", address="0.0.0.0") as port:  # noqa: S104 - 127/8 can't be bound otherwise
            running = stack.enter_context(agent(place, _settings(place, port, count)))
            await running.until_ready()
            failed = await call_all(running.port, [f"name-{number}" for number in range(count)], 16)
            await asyncio.sleep(settle)
            idle = await _idle(running, seconds)
            memory = {name: rss_megabytes(pid) for name, pid in _pids(running).items()}
    return {"names": count, "failed": len(failed), "rss_mb": memory, "idle_cpu_percent": idle}


async def _all(counts: list[int], settle: float, seconds: float) -> list[dict[str, object]]:
    return [await measure(count, settle, seconds) for count in counts]


def _row(figures: dict[str, object]) -> list[object]:
    memory, idle = figures["rss_mb"], figures["idle_cpu_percent"]
    assert isinstance(memory, dict)
    assert isinstance(idle, dict)
    parts = ("supervisor", "keeper", "brain", "envoy")
    return [figures["names"], *(memory[part] for part in parts), *(idle[part] for part in parts), sum(idle.values())]


def main() -> None:
    options = arguments(__doc__ or "")
    counts = [0, 1_000] if options.quick else [0, 100, 1_000, 10_000]
    settle, seconds = (2.0, 5.0) if options.quick else (10.0, 30.0)
    results = uvloop.run(_all(counts, settle, seconds))
    names = ("supervisor", "keeper", "brain", "Envoy")
    columns = ["names", *(f"{each} MB" for each in names), *(f"{each} %" for each in names), "idle CPU %"]
    show(f"bound names × {ENDPOINTS} endpoints; idle CPU over {seconds:g} s", columns, [_row(each) for each in results])
    finish({"benchmark": "footprint", "names": results}, as_json=options.json)


if __name__ == "__main__":
    main()
