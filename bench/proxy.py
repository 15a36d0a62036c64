"""What one request costs: CPU, rps, latency; bare Envoy, Tieline, Traefik, and HAProxy and nginx where installed.

Tieline twice: at its defaults, and `watched`: 1 % of the requests traced, those that fail written to a log.

Rounds are interleaved: every proxy in turn, several times, so that what the machine does meanwhile hits all alike.
Ratios are the medians of the rounds' ratios. `cpu_us` counts all processes of a proxy; for Tieline the brain too.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import ExitStack
from statistics import median

from bench.contenders import Contender, enter_all, until_open
from bench.load import Result, elsewhere, tool
from bench.processes import cpu_seconds
from bench.report import arguments, finish, show
from scripts.running import folder

CONNECTIONS = 8


async def _round(contender: Contender, seconds: float) -> tuple[Result, float]:
    before = sum(cpu_seconds(pid) for pid in contender.pids)
    result = await elsewhere(f"127.0.0.1:{contender.port}", "users", seconds, CONNECTIONS)
    spent = sum(cpu_seconds(pid) for pid in contender.pids) - before
    return result, spent * 1e6 / result.requests


async def measure(contenders: list[Contender], rounds: int, seconds: float) -> dict[str, list[tuple[Result, float]]]:
    for contender in contenders:
        await until_open(contender.port)
        await elsewhere(f"127.0.0.1:{contender.port}", "users", 0.5, CONNECTIONS)
    seen: dict[str, list[tuple[Result, float]]] = defaultdict(list)
    for turn in range(rounds):
        order = contenders if turn % 2 == 0 else contenders[::-1]
        for contender in order:
            seen[contender.name].append(await _round(contender, seconds))
    return seen


def _ratio(seen: dict[str, list[tuple[Result, float]]], one: str, other: str) -> float:
    return median(a[1] / b[1] for a, b in zip(seen[one], seen[other], strict=True))


def main() -> None:
    options = arguments(__doc__ or "")
    rounds, seconds = (4, 1.0) if options.quick else (10, 3.0)
    with folder() as place, ExitStack() as stack:
        contenders, missing = enter_all(stack, place)
        seen = asyncio.run(measure(contenders, rounds, seconds))
    rows = [
        [
            name,
            median(cpu for _, cpu in each),
            median(result.rps for result, _ in each),
            median(result.p50_ms for result, _ in each),
            median(result.p99_ms for result, _ in each),
            sum(result.failed for result, _ in each),
            _ratio(seen, name, "envoy"),
        ]
        for name, each in seen.items()
    ]
    columns = ["proxy", "cpu µs/request", "rps", "p50 ms", "p99 ms", "failed", "cpu / bare Envoy"]
    show(f"{rounds} interleaved rounds of {seconds:g} s, {CONNECTIONS} connections, by {tool()}", columns, rows)
    for line in missing:
        print(line)
    keys = ("cpu_us_per_request", "rps", "p50_ms", "p99_ms", "failed")
    figures = {
        "benchmark": "proxy",
        "load": tool(),
        "proxies": {str(row[0]): dict(zip(keys, row[1:6], strict=True)) for row in rows},
        "cpu_per_request_ratio": {f"{row[0]}/envoy": row[6] for row in rows if row[0] != "envoy"},
        "left_out": missing,
    }
    finish(figures, as_json=options.json)


if __name__ == "__main__":
    main()
