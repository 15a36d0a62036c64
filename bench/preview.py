"""How long a preview takes: seconds for 10,000 names in use, over one set of observations, on one core.

Each row is a change: one that touches no name, one name, a tenth of them (a dentry for each), all. First by a plain
table (three rewrites to a name of one source); then by one in which every name is a union with alternates; then by the
plain one with a dentry for each name; then with one that leads each to the next, so that no two of them are alike and
each name has to be bound by itself.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Mapping

from bench.report import arguments, finish, show
from discovery.address import Endpoint, Known, Neg, State, bound
from discovery.path import Path
from mesh.agent import collector
from mesh.control.effect import Rules, Use, View
from mesh.control.preview import as_json, preview
from mesh.naming.bind import Options
from mesh.naming.dtab import Dtab, parse_dtab
from mesh.naming.namers import SourceNamer
from mesh.policy.effective import Policies

NAMES = 10_000
NAMERS = [SourceNamer(Path.parse(f"/#/{kind}"), 2) for kind in ("consul", "ecs", "docker")]
PLAIN = "/srv => /#/consul/dc1; /host => /srv; /svc => /host"
BRANCHED = "/srv => 9 * /#/consul/dc1 & 1 * /#/consul/dc2 | /#/ecs/prod; /host => /srv | /#/docker/dev; /svc => /host"
OVERRIDES = ";".join(f"/svc/team{n} => /host/team{n}/users & /host/team{n}/orders" for n in range(20))
ALIASES = ";".join(f"/alias{n}/* => /#/ecs/prod{n} | /#/docker/prod{n}" for n in range(27))


def table(of_names: str, more: str = "") -> Dtab:
    return parse_dtab(";".join(part for part in (of_names, OVERRIDES, ALIASES, more) if part))


def changes(of_names: str) -> Mapping[str, Dtab]:
    elsewhere = [f"/svc/service-{n} => /#/ecs/prod/service-{n}" for n in range(0, NAMES, 10)]
    return {
        "none": table(of_names, "/other => /#/ecs/prod"),
        "one": table(of_names, elsewhere[0]),
        "a tenth": table(of_names, ";".join(elsewhere)),
        "all": table(of_names, "/host => 8 * /srv & 2 * /#/ecs/prod"),
    }


def world() -> Mapping[Path, State]:
    states: dict[Path, State] = {}
    for label, low in (("consul/dc1", 0), ("consul/dc2", 3), ("ecs/prod", 6)):
        known = Known(bound(Endpoint(f"10.0.0.{low + n}", 80) for n in range(3)), 0, 0)
        states |= {Path(("#", *label.split("/"), f"service-{n}")): known for n in range(NAMES)}
    return states


def with_dentries(to: Callable[[int], str]) -> str:
    return ";".join((PLAIN, *(f"/svc/service-{n} => {to(n)}" for n in range(NAMES))))


def seconds(before: Dtab, after: Dtab, repeats: int) -> tuple[float, float, int]:
    """The best of a few, and what putting the answer into JSON takes; how many names change. Seconds of the CPU: there
    is nothing to wait for, and others on the machine are not to count."""
    states, missing, view = world(), Known(Neg(), 0, 0), View(NAMERS)
    uses = [Use("http", Path(("svc", f"service-{n}")), {view: 1.0}) for n in range(NAMES)]
    rules = Rules(before, Policies()), Rules(after, Policies())
    took, written = [], []
    for _ in range(repeats):
        gc.collect()
        began = time.process_time()
        seen = preview(uses, *rules, Options(), lambda path: states.get(path, missing), 0.1)
        took.append(time.process_time() - began)
        began = time.process_time()
        json.dumps(as_json(seen))
        written.append(time.process_time() - began)
    return min(took), min(written), len(seen.effects)


def measure(*, quick: bool) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    kinds = {
        "plain": PLAIN,
        "unions and alternates": BRANCHED,
        "a dentry for each name": with_dentries(lambda n: f"/host/service-{n}"),
        "no two alike": with_dentries(lambda n: f"/host/service-{(n + 1) % NAMES}"),
    }
    for kind, of_names in kinds.items():
        for touched, after in changes(of_names).items():
            took, written, changed = seconds(table(of_names), after, 2 if quick else 5)
            row = {"table": kind, "touches": touched, "changed": changed, "seconds": took, "json_seconds": written}
            rows.append(row)
    return rows


def main() -> None:
    options = arguments(__doc__ or "")
    # As in the process that makes previews.
    collector.at_leisure()
    rows = measure(quick=options.quick)
    columns = ("table", "touches", "changed", "seconds", "json_seconds")
    show(f"preview of {NAMES:,} names", columns, [[row[column] for column in columns] for row in rows])
    finish({"benchmark": "preview", "names": NAMES, "changes": rows}, as_json=options.json)


if __name__ == "__main__":
    main()
