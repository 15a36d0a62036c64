"""One name is asked for ten times what it can serve: what does another name on the same proxy notice?

The busy name has a service that takes 40 ms and a limit of 8 requests at once: 200 a second; it gets 2000 a second, and
what is beyond the limit gets 503. The quiet name gets 400 a second. Rounds with and without the neighbour alternate, so
that what the machine does meanwhile hits both alike; the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median

from aiohttp import web

from bench.contenders import WORKERS, backend
from bench.paced import Paced
from bench.report import arguments, finish, show
from scripts.running import Agent, agent, folder

SERVICE_SECONDS, LIMIT, OVERLOAD = 0.04, 8, 10
CAPACITY = LIMIT / SERVICE_SECONDS
QUIET_RATE = 400.0
TARGET_RATIO, TARGET_SUCCESS = 2.0, 0.9999


@asynccontextmanager
async def _slow() -> AsyncIterator[int]:
    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(SERVICE_SECONDS)
        return web.Response(text="slow")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@contextmanager
def _mesh(place: Path, quiet: int) -> Iterator[Agent]:
    (place / "disco").mkdir()
    (place / "disco" / "quiet").write_text(f"127.0.0.1 {quiet}\n")
    settings: dict[str, object] = {
        "dtab": "/svc => /#/files",
        "sources": [{"kind": "files", "folder": str(place / "disco")}],
        "policies": [{"match": "/svc/busy", "limits": {"requests": LIMIT}}],
        "envoy": {"concurrency": WORKERS, "drain": "1s"},
    }
    with agent(place, settings) as running:
        yield running


async def _paced(port: int, name: str, rate: float, connections: int, seconds: float) -> asyncio.subprocess.Process:
    """Begun when this returns."""
    command = (sys.executable, "-m", "bench.paced", str(port), name, str(rate), str(connections), str(seconds))
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    assert await child.stdout.readline() == b"begun\n"
    return child


async def _result(child: asyncio.subprocess.Process) -> Paced:
    out, _ = await child.communicate()
    if child.returncode != 0:
        raise RuntimeError(f"the load ended with {child.returncode}")
    return Paced(**json.loads(out))


async def _round(port: int, seconds: float, *, neighbour: bool) -> tuple[Paced, Paced | None]:
    """What the quiet name got, and the busy one."""
    # The neighbour is there before and after.
    busy = await _paced(port, "busy", OVERLOAD * CAPACITY, 64, seconds + 2) if neighbour else None
    quiet = await _result(await _paced(port, "quiet", QUIET_RATE, 8, seconds))
    return quiet, await _result(busy) if busy else None


async def measure(mesh: Agent, rounds: int, seconds: float) -> tuple[list[Paced], list[Paced], list[Paced]]:
    """The quiet name alone, the quiet name beside the busy one, and the busy one."""
    await mesh.until_ready()
    alone, beside, busy = list[Paced](), list[Paced](), list[Paced]()
    async with _slow() as port:
        (mesh.folder / "disco" / "busy").write_text(f"127.0.0.1 {port}\n")
        await _round(mesh.port, 1.0, neighbour=True)
        for turn in range(2 * rounds):
            quiet, other = await _round(mesh.port, seconds, neighbour=turn % 4 in (1, 2))
            (alone if other is None else beside).append(quiet)
            busy += [other] if other is not None else []
    return alone, beside, busy


def _row(name: str, results: list[Paced]) -> list[object]:
    asked, failed = sum(each.asked for each in results), sum(each.failed for each in results)
    return [name, asked, failed, median(each.p50_ms for each in results), median(each.p99_ms for each in results)]


def main() -> None:
    options = arguments(__doc__ or "")
    rounds, seconds = (3, 2.0) if options.quick else (10, 4.0)
    with folder() as place, backend(place) as service, _mesh(place, service.port) as mesh:
        alone, beside, busy = asyncio.run(measure(mesh, rounds, seconds))
    ratio = median(b.p99_ms / a.p99_ms for a, b in zip(alone, beside, strict=True))
    success = 1 - sum(each.failed for each in beside) / sum(each.asked for each in beside)
    columns = ["name", "requests", "failed", "p50 ms", "p99 ms"]
    named = (("quiet, alone", alone), ("quiet, beside", beside), ("busy", busy))
    rows = [_row(name, results) for name, results in named]
    show(f"{rounds} interleaved rounds of {seconds:g} s, the neighbour at {OVERLOAD} times its capacity", columns, rows)
    print(f"p99 beside / alone: {ratio:.2f} (target: at most {TARGET_RATIO:g})")
    print(f"success beside: {success:.4%} (target: at least {TARGET_SUCCESS:.2%})")
    keys = ("requests", "failed", "p50_ms", "p99_ms")
    figures = {
        "benchmark": "neighbour",
        "names": {str(row[0]): dict(zip(keys, row[1:], strict=True)) for row in rows},
        "p99_ratio": ratio,
        "success": success,
        "targets": {"p99_ratio": TARGET_RATIO, "success": TARGET_SUCCESS},
    }
    finish(figures, as_json=options.json)


if __name__ == "__main__":
    main()
