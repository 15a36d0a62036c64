"""What each source costs and how soon it knows: platform event → endpoint known; reading everything; one change.

The platform is another process (bench.stage), the source runs in an observatory of its own process, as in a brain, and
observes every name; of Consul and Cloud Map, which are asked for each name, 1,000 at the most. Three sizes: 1,000
endpoints, 10,000 and 100,000, ten to a service.

- known: from before the platform is told to the state that has the new endpoint. What is polled is as late as its poll.
- read: from the first `want` to the last name known. RSS: what the process has grown by then, and its peak.
- cpu: of this process, for each change; the ratio says what 100 times as many endpoints cost.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvloop

from bench.processes import percentile, rss_megabytes
from bench.report import arguments, finish, show
from bench.stage import Key, extra
from discovery import registry
from discovery.address import Bound, Known, State
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.settings import SourceConfig
from scripts import consul

ENDPOINTS = 10
SIZES = (100, 1_000, 10_000)
NAMES: dict[str, tuple[str, ...]] = {
    "consul": ("dc1",),
    "docker": ("shop",),
    "ecs": ("prod",),
    "cloudmap": ("prod",),
    "kubernetes": ("prod", "http"),
}
# The fakes ask for none, botocore for some.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
POLLED = {"ecs", "cloudmap"}
MOST_OBSERVED = {"consul": 1_000, "cloudmap": 1_000}
MOST_SERVICES = {"ecs": 1_000}
"""Each observed service of ECS is a task definition to ask for, one call each."""
READ_SECONDS = 120.0
KNOWN_SECONDS = 60.0


@dataclass(slots=True)
class Stage:
    process: asyncio.subprocess.Process
    settings: dict[str, object]

    async def add(self, service: int, turn: int) -> float:
        """When it began to change, on the clock of `time.monotonic`, which all processes share."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{service} {turn}\n".encode())
        return float(await self.process.stdout.readline())


@asynccontextmanager
async def _stage(kind: str, services: int) -> AsyncIterator[Stage]:
    command = [sys.executable, "-m", "bench.stage", kind, str(services), str(ENDPOINTS)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    try:
        yield Stage(process, json.loads(await process.stdout.readline()))
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


class Watch:
    """The states of the names, and who waits for an endpoint."""

    def __init__(self, names: list[Path]) -> None:
        self.missing = set(names)
        self.complete = asyncio.Event()
        self.awaited: tuple[Path, Key] | None = None
        self.at = 0.0
        self.seen = asyncio.Event()

    def changed(self, name: Path, state: State) -> None:
        if not isinstance(state, Known):
            return
        self.missing.discard(name)
        if not self.missing:
            self.complete.set()
        if self.awaited is not None and name == self.awaited[0] and isinstance(state.addr, Bound):
            key = self.awaited[1]
            if any(endpoint.key == key for endpoint in state.addr.endpoints):
                self.at, self.awaited = time.monotonic(), None
                self.seen.set()


async def measure(kind: str, services: int, changes: int) -> dict[str, object]:
    async with _stage(kind, services) as stage:
        found = registry.load(kind)
        assert not isinstance(found, registry.Broken), found
        config = found.model_validate({**stage.settings, "resync": 0})
        async with config.open() as source:
            settings = Settings(resync=0.0, bind_timeout=READ_SECONDS)
            entry = SourceEntry(config.root, kind, config.name_segments, source, settings, config.fewest_segments)
            return await _measured(config, entry, stage, services, changes)


async def _measured(
    config: SourceConfig, entry: SourceEntry, stage: Stage, services: int, changes: int
) -> dict[str, object]:
    observed = min(services, MOST_OBSERVED.get(config.kind, services))
    names = [config.root.then((*NAMES.get(config.kind, ()), f"s{service}")) for service in range(observed)]
    watch = Watch(names)
    gc.collect()
    before = rss_megabytes_here()
    async with Observatory([entry], watch.changed) as sky:
        began = time.monotonic()
        for name in names:
            sky.want(name)
        async with asyncio.timeout(READ_SECONDS):
            await watch.complete.wait()
        read = time.monotonic() - began
        gc.collect()
        grown = rss_megabytes_here() - before
        cpu = time.process_time()
        late = [await _change(watch, names, stage, turn) for turn in range(changes)]
        cpu = time.process_time() - cpu
    return {
        "endpoints": services * ENDPOINTS,
        "observed": observed,
        "read_s": read,
        "rss_mb": grown,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "p50_ms": percentile(late, 0.5) * 1000,
        "p99_ms": percentile(late, 0.99) * 1000,
        "cpu_ms": cpu / changes * 1000,
    }


async def _change(watch: Watch, names: list[Path], stage: Stage, turn: int) -> float:
    service = random.randrange(len(names))
    watch.seen.clear()
    watch.awaited = names[service], extra(turn)
    at = await stage.add(service, turn)
    async with asyncio.timeout(KNOWN_SECONDS):
        await watch.seen.wait()
    return watch.at - at


def rss_megabytes_here() -> float:
    return rss_megabytes(os.getpid())


def _in_a_process_of_its_own(kind: str, services: int, changes: int) -> dict[str, object]:
    command = [sys.executable, "-m", "bench.discovery", "--one", kind, str(services), str(changes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _kinds() -> list[str]:
    from bench.stage import STAGES

    return [kind for kind in STAGES if kind != "consul" or consul.find() is not None]


def main() -> None:
    os.environ.update(CREDENTIALS)
    if "--one" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--one", nargs=3)
        kind, services, changes = parser.parse_args().one
        print(json.dumps(uvloop.run(measure(kind, int(services), int(changes)))))
        return
    options = arguments(__doc__ or "")
    sizes = SIZES[:2] if options.quick else SIZES
    rows: list[list[object]] = []
    figures: dict[str, object] = {}
    for kind in _kinds():
        measured = []
        for services in (each for each in sizes if each <= MOST_SERVICES.get(kind, each)):
            changes = (3 if options.quick else 10) if kind in POLLED else (100 if options.quick else 500)
            one = _in_a_process_of_its_own(kind, services, changes)
            measured.append(one)
            rows.append([kind, *one.values()])
            print(kind, json.dumps(one), flush=True)
        first, last = measured[0]["cpu_ms"], measured[-1]["cpu_ms"]
        assert isinstance(first, float)
        assert isinstance(last, float)
        figures[kind] = {"sizes": measured, "cpu_ratio": last / first}
        rows[-1].append(f"{last / first:.2f}")
    columns = [
        "endpoints",
        "names",
        "read s",
        "RSS MB",
        "peak MB",
        "p50 ms",
        "p99 ms",
        "cpu ms/change",
        "× the smallest",
    ]
    show(
        "sources: reading everything, and one change",
        ["source", *columns],
        [[*row, *[""] * (10 - len(row))] for row in rows],
    )
    finish({"benchmark": "discovery", "sources": figures}, as_json=options.json)


if __name__ == "__main__":
    main()
