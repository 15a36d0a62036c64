"""From the start of an agent to the first request served, with all it knows on its disk: no source, no control plane.

1,000 names in use with ten endpoints each. Measured from the exec of `tieline agent`; the request is for one of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

import aiohttp
import uvloop

from bench.report import arguments, finish, show
from discovery.address import Endpoint, Known, bound
from discovery.path import Path as Name
from discovery.remote.frames import RemoteSource, Sources, encode
from mesh.agent.snapshot_file import Changes, SnapshotFile
from mesh.agent.snapshot_rows import Fleet
from mesh.control.version import Content, Version
from scripts.ports import free_port
from scripts.running import Agent, agent, folder, service

NAMES, ENDPOINTS = 1_000, 10
CONSUL = Name(("#", "consul"))
TABLE = Content("/svc => /#/consul/dc1", "[{match: /svc, retries: {num_retries: 1}}]")
PATIENCE_SECONDS = 60.0


def _addresses() -> list[str]:
    return [f"127.0.0.{number}" for number in range(1, ENDPOINTS + 1)]


@asynccontextmanager
async def _everywhere() -> AsyncIterator[int]:
    """One port, on as many addresses as a name has endpoints."""
    async with AsyncExitStack() as stack:
        port = free_port()
        for address in _addresses():
            await stack.enter_async_context(service("ok", port, address=address))
        yield port


def _remember(file: Path, port: int) -> None:
    addr = bound(Endpoint(address, port) for address in _addresses())
    names = {("http", f"name-{number}"): False for number in range(NAMES)}
    known = {Name(("#", "consul", "dc1", name)): Known(addr, 1.0, 1.0) for _, name in names}
    sources = encode(Sources((RemoteSource(CONSUL, "consul", 2),)))
    snapshot = SnapshotFile(file)
    snapshot.write(Changes({**known}, {**names}, Fleet(Version("default", 17, 1.0, "bench", "", TABLE), sources)))
    snapshot.close()


async def _first_answer(running: Agent, name: str) -> float:
    """When it came, on the clock of `time.monotonic`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            try:
                async with http.get(running.url, headers={"host": name}) as answer:
                    if answer.status == 200:
                        return time.monotonic()
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.005)
    raise TimeoutError(f"not served within {PATIENCE_SECONDS:g} s:\n{running.tail()}")


async def _once(number: int) -> tuple[float, float]:
    """Seconds to the first answer, and from there until the last of all names has answered once."""
    async with _everywhere() as port:
        with folder() as place:
            _remember(place / "state" / "snapshot.sqlite", port)
            began = time.monotonic()
            with agent(place, {"control": {"url": f"http://127.0.0.1:{free_port()}"}}) as running:
                first = await _first_answer(running, f"name-{number}")
                for each in range(0, NAMES, NAMES // 100):
                    last = await _first_answer(running, f"name-{each}")
    return first - began, last - first


async def measure(runs: int) -> dict[str, object]:
    seconds = [await _once(number) for number in range(runs)]
    first = [each for each, _ in seconds]
    return {
        "benchmark": "boot",
        "names": NAMES,
        "endpoints": NAMES * ENDPOINTS,
        "runs": runs,
        "first_request_p50_seconds": median(first),
        "first_request_max_seconds": max(first),
        "a_hundred_names_more_max_seconds": max(more for _, more in seconds),
    }


def main() -> None:
    options = arguments(__doc__ or "")
    figures = uvloop.run(measure(3 if options.quick else 10))
    show("boot", ["figure", "value"], [[key, value] for key, value in figures.items() if key != "benchmark"])
    finish(figures, as_json=options.json)


if __name__ == "__main__":
    main()
