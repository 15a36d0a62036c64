"""A table for one request (`l5d-dtab`): what it adds to a delegated request, and what it costs all others.

"Added" is a delegated call less the median of plain calls of the same rounds, on the same connection: the first with a
table nobody sent before, and one more with the same table. The others are measured by CPU: plain requests through a
router that accepts tables and through one that doesn't, in interleaved rounds.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import uvloop

from bench.caller import Caller
from bench.load import elsewhere
from bench.processes import cpu_seconds, percentile
from bench.proxy import CONNECTIONS
from bench.report import arguments, finish, show
from scripts.ports import free_port
from scripts.running import Agent, agent, folder, service


def _settings(place: Path, ports: dict[str, int], target: int) -> dict[str, object]:
    disco = place / "disco"
    disco.mkdir()
    for name in ("users", "next"):
        (disco / name).write_text(f"127.0.0.1 {target}\n")
    routers = [{"name": name, "port": port, "overrides": name} for name, port in ports.items()]
    return {"dtab": "/svc => /#/files", "sources": [{"kind": "files", "folder": str(disco)}], "routers": routers}


async def _delegated(port: int, tables: int) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {"plain": [], "first": [], "again": []}
    async with Caller(port) as caller:
        for number in range(tables):
            header = f"l5d-dtab: /svc/users => /#/files/next ; /bench => /{number}\r\n"
            seen["plain"].append(await caller.timed("users"))
            seen["first"].append(await caller.timed("users", header))
            seen["again"].append(await caller.timed("users", header))
        assert not caller.failed, caller.failed
    return seen


async def _others(running: Agent, ports: dict[str, int], rounds: int, seconds: float) -> dict[str, list[float]]:
    """CPU microseconds of Envoy and the brain for a plain request, by router, one figure for each round."""
    seen: dict[str, list[float]] = {name: [] for name in ports}
    children = running.children().values()
    for turn in range(rounds):
        for name in list(ports) if turn % 2 == 0 else list(ports)[::-1]:
            before = sum(map(cpu_seconds, children))
            result = await elsewhere(f"127.0.0.1:{ports[name]}", "users", seconds, CONNECTIONS)
            seen[name].append((sum(map(cpu_seconds, children)) - before) * 1e6 / result.requests)
    return seen


async def measure(tables: int, rounds: int, seconds: float) -> dict[str, object]:
    ports = {"on": free_port(), "off": free_port()}
    with folder() as place:
        async with service("ok") as target:
            with agent(place, _settings(place, ports, target)) as running:
                await running.until_ready()
                delegated = await _delegated(ports["on"], tables)
                others = await _others(running, ports, rounds, seconds)
    plain = median(delegated["plain"])
    added = {name: [each - plain for each in delegated[name]] for name in ("first", "again")}
    return {
        "benchmark": "overrides",
        "plain_p50_ms": plain * 1000,
        **{
            f"added_{name}_p{share}_ms": percentile(each, share / 100) * 1000
            for name, each in added.items()
            for share in (50, 99)
        },
        "others_cpu_us_accepting": median(others["on"]),
        "others_cpu_us_not_accepting": median(others["off"]),
        "others_cpu_ratio": median(on / off for on, off in zip(others["on"], others["off"], strict=True)),
    }


def main() -> None:
    options = arguments(__doc__ or "")
    figures = uvloop.run(measure(*((200, 4, 1.0) if options.quick else (900, 10, 3.0))))
    show(
        "delegated requests", ["figure", "value"], [[key, each] for key, each in figures.items() if key != "benchmark"]
    )
    finish(figures, as_json=options.json)


if __name__ == "__main__":
    main()
