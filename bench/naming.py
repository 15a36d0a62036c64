"""How fast names are bound: `python -m bench.naming [--quick] [--json]`.

A table of 50 dentries, three rewriting steps to each of 10,000 names of two sources; then tables made to be slow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable

from bench import rebinding
from discovery.address import Endpoint, Known, Neg, State, bound
from discovery.path import Path
from mesh.naming.bind import bind
from mesh.naming.dtab import Dtab, parse_dtab
from mesh.naming.namers import SourceNamer

NAMES = 10_000
NAMERS = [
    SourceNamer(Path.parse("/#/consul"), 2),
    SourceNamer(Path.parse("/#/ecs"), 2),
    SourceNamer(Path.parse("/#/docker"), 2),
    SourceNamer(Path.parse("/#/kubernetes"), 3),
]
HOSTILE = {
    "circle": "/a => /a",
    "branching circle": "/a => /a/x & /a/y",
    "alternatives in a circle": "/a => ~ | /a/x & /a/y | /a",
    "growing path": "/a => /a" + "/x" * 10_000,
    "wildcards": ";".join(
        "/" + "/".join("*" if n >> bit & 1 else "a" for bit in range(10)) + "/b=>~" for n in range(1024)
    )
    + ";/ => /a/a/a/a/a/a/a/a/a/a & /a/a/a/a/a/a/a/a/a/a/a",
}


def table() -> Dtab:
    """50 dentries; a name goes /svc/users -> /host/users -> /srv/users -> /#/consul/dc1/users."""
    rewrites = "/srv => /#/consul/dc1; /host => /srv; /svc => /host"
    overrides = (f"/svc/team{n} => /host/team{n}/users & /host/team{n}/orders" for n in range(20))
    aliases = (f"/alias{n}/* => /#/ecs/prod{n} | /#/docker/prod{n}" for n in range(27))
    return parse_dtab(";".join((rewrites, *overrides, *aliases)))


def world() -> Callable[[Path], State]:
    known = Known(bound(Endpoint(f"10.0.0.{n}", 80) for n in range(3)), 0, 0)
    missing = Known(Neg(), 0, 0)
    states: dict[Path, State] = {Path(("#", "consul", "dc1", f"service-{n}")): known for n in range(NAMES)}
    return lambda path: states.get(path, missing)


def rate(work: Callable[[Path], object], names: list[Path], seconds: float) -> float:
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for name in names:
            work(name)
        done += len(names)
    return done / (time.perf_counter() - started)


def slowest(repeats: int) -> dict[str, float]:
    """Milliseconds for the worst bind of each hostile table, with everything walked."""
    state, spent = world(), {}
    for label, text in HOSTILE.items():
        hostile = parse_dtab(text)
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            bind(hostile, Path(("a",)), NAMERS, state, exhaustive=True)
            times.append(time.perf_counter() - started)
        spent[label] = max(times) * 1000
    return spent


def measure(*, quick: bool) -> dict[str, float]:
    seconds = 1.0 if quick else 5.0
    dtab, state = table(), world()
    names = [Path(("svc", f"service-{n}")) for n in range(NAMES)]
    missing = [Path(("svc", f"absent-{n}")) for n in range(NAMES)]
    results = {
        "binds_per_second": rate(lambda name: bind(dtab, name, NAMERS, state), names, seconds),
        "binds_per_second_missing": rate(lambda name: bind(dtab, name, NAMERS, state), missing, seconds),
        "binds_per_second_exhaustive": rate(
            lambda name: bind(dtab, name, NAMERS, state, exhaustive=True), names, seconds
        ),
        **{
            f"worst_milliseconds_{label.replace(' ', '_')}": spent
            for label, spent in slowest(1 if quick else 5).items()
        },
    }
    results["dentries"], results["names"] = len(dtab), NAMES
    return {**results, **asyncio.run(rebinding.measure(NAMES))}


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast names are bound.")
    parser.add_argument("--quick", action="store_true", help="a few seconds, less exact")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args()
    results = measure(quick=options.quick)
    for label, value in results.items():
        print(f"{label:45} {value:12,.1f}")
    if options.json:
        print(json.dumps({label: round(value, 3) for label, value in results.items()}))


if __name__ == "__main__":
    main()
