"""From a change at the source to the first request served by the new endpoint.

Two services take turns behind one name; a caller asks without pause. The clock starts before the change is made (for
Consul: before the request that registers it is sent), and stops with the first answer of the other service. Beside
the name under test others are bound, so that 100 or 10,000 endpoints are known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import uvloop

from bench.caller import Caller, call_all
from bench.processes import percentile
from bench.report import arguments, finish, show
from scripts import consul
from scripts.running import agent, folder, service

Change = Callable[[int], Awaitable[None]]
NAMES_OF_MANY, ENDPOINTS_OF_MANY = 50, 200
NAMES_OF_FEW, ENDPOINTS_OF_FEW = 10, 10


class Files:
    def __init__(self, place: Path) -> None:
        self.folder = place / "disco"
        self.folder.mkdir()
        self.settings: dict[str, object] = {"kind": "files", "prefix": "source", "folder": str(self.folder)}
        self.dtab = "/svc => /#/source"

    async def put(self, name: str, ports: list[int]) -> None:
        fresh = self.folder / ".next"
        fresh.write_text("".join(f"127.0.0.1 {port}\n" for port in ports))
        fresh.rename(self.folder / name)


class Consul:
    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session
        self.settings: dict[str, object] = {"kind": "consul", "prefix": "source", "address": url}
        self.dtab = "/svc => /#/source/dc1"

    async def put(self, name: str, ports: list[int]) -> None:
        """Each instance on a host of its own, as in a fleet. Consul wakes those who wait for anything on a host."""
        for index, port in enumerate(ports):
            service = {"ID": f"{name}-{index}", "Service": name, "Port": port}
            entry = {"Node": f"host-{name}-{index}", "Address": "127.0.0.1", "Service": service}
            async with self._session.put(f"{self._url}/v1/catalog/register", json=entry) as response:
                response.raise_for_status()


async def _changes(port: int, change: Change, services: tuple[int, int], count: int) -> list[float]:
    times = []
    async with Caller(port) as caller:
        for turn in range(count):
            number = (turn + 1) % 2
            changed = asyncio.Event()
            began = time.perf_counter()

            async def apply(target: int = services[number], changed: asyncio.Event = changed) -> None:
                await change(target)
                changed.set()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(apply())
                wanted = str(number).encode()
                while (await caller.call("under-test"))[1] != wanted:  # noqa: ASYNC110 - asking is the measurement
                    await asyncio.sleep(0)
                times.append(time.perf_counter() - began)
                await changed.wait()
    return times


async def measure(kind: str, names: int, endpoints: int, count: int) -> list[float]:
    async with AsyncExitStack() as stack:
        place = stack.enter_context(folder())
        source: Files | Consul
        if kind == "files":
            source = Files(place)
        else:
            running_consul = await stack.enter_async_context(consul.agent())
            source = Consul(running_consul.url, await stack.enter_async_context(aiohttp.ClientSession()))
        zero = await stack.enter_async_context(service("0"))
        one = await stack.enter_async_context(service("1"))
        await source.put("under-test", [zero])
        for number in range(names):
            await source.put(f"name-{number}", list(range(20_000, 20_000 + endpoints)))
        settings: dict[str, object] = {"dtab": source.dtab, "sources": [source.settings]}
        running = stack.enter_context(agent(place, settings))
        await running.until_ready()
        # The others' endpoints don't answer; being asked for is what binds them.
        await call_all(running.port, [f"name-{number}" for number in range(names)], 8)
        return await _changes(running.port, lambda port: source.put("under-test", [port]), (zero, one), count)


async def _all(count: int, *, quick: bool) -> dict[str, object]:
    kinds = ["files", "consul"] if consul.find() else ["files"]
    sizes = [(NAMES_OF_FEW, ENDPOINTS_OF_FEW), (NAMES_OF_MANY, ENDPOINTS_OF_MANY)]
    sources: dict[str, object] = {}
    for kind in kinds:
        for names, endpoints in sizes:
            if quick and kind == "consul" and names * endpoints > 1000:
                endpoints = 10  # registering 10,000 endpoints takes a minute
            times = await measure(kind, names, endpoints, count)
            known = names * endpoints
            label = kind if (names, endpoints) == sizes[0] else f"{kind}@{known}"
            sources[label] = {
                "endpoints": known,
                "changes": len(times),
                "p50_ms": percentile(times, 0.5) * 1000,
                "p99_ms": percentile(times, 0.99) * 1000,
                "max_ms": max(times) * 1000,
            }
    return sources


def main() -> None:
    options = arguments(__doc__ or "")
    sources = uvloop.run(_all(100 if options.quick else 1_000, quick=options.quick))
    keys = ("endpoints", "changes", "p50_ms", "p99_ms", "max_ms")
    rows = [[name, *(figures[key] for key in keys)] for name, figures in sources.items() if isinstance(figures, dict)]
    show("from a change at the source to the first request it serves", ["source", *keys], rows)
    if consul.find() is None:
        print("consul: none to be had here, left out")
    finish({"benchmark": "convergence", "sources": sources}, as_json=options.json)


if __name__ == "__main__":
    main()
