"""Envoy's counters as ours: per router, per name, per bound name. Read when asked for, never per request.

What Envoy counts for one bound name in several clusters (gRPC, settings of one name, shared instances) is one series.
Of a proxy that can't be asked nothing is said but that it is not up. Source: Envoy's /stats/prometheus, filtered.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from urllib.parse import quote

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from mesh.agent import envoy_admin
from mesh.agent.proxy_rows import BOUND, COUNTER, HISTOGRAM, NAME, PATTERN, ROWS, Row

# Envoy puts its workers' histograms together when it is asked for stats, and tells what it had before.
FLUSH = "/stats?filter=^$"
TARGET = "/stats/prometheus?usedonly&filter=" + quote(PATTERN)

Labels = tuple[str, ...]
_LINE = re.compile(r"(\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_PART = re.compile(r"(envoy_\w+_time)_(bucket|sum|count)")
_ROW = {row.envoy: row for row in ROWS}


@dataclass(frozen=True, slots=True)
class Subjects:
    """What is in use, by what Envoy calls it. `names`: by router and stat prefix; `bound`: by stat name."""

    routers: frozenset[str]
    names: Mapping[tuple[str, str], str]
    bound: Mapping[str, str]

    def of(self, row: Row, labels: Mapping[str, str]) -> Labels | None:
        """None: not ours, or in use no more."""
        match row.subject:
            case "router":
                router = labels["envoy_http_conn_manager_prefix"]
                return (router,) if router in self.routers else None
            case "name":
                router = labels["envoy_virtual_host"]
                name = self.names.get((router, labels["envoy_route"]))
                return None if name is None else (router, name)
            case "bound":
                bound = self.bound.get(labels["envoy_cluster_name"])
                return None if bound is None else (bound,)
            case _:
                return ()


@dataclass(slots=True)
class _Distribution:
    buckets: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class Translation:
    """Fed with Envoy's lines, one after the other, so that no page is ever held whole."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._values: dict[Row, dict[Labels, float]] = {}
        self._times: dict[Row, dict[Labels, _Distribution]] = {}
        self._seen: dict[str, set[Labels]] = {NAME: set(), BOUND: set()}

    def feed(self, line: str) -> None:
        found = _LINE.fullmatch(line)
        if found is None:
            return
        envoy, labels, value = found[1], dict(_LABEL.findall(found[2])), float(found[3])
        part = _PART.fullmatch(envoy)
        row = _ROW.get(part[1] if part else envoy)
        subject = None if row is None else self._subjects.of(row, labels)
        if row is None or subject is None:
            return
        # What only leads to other clusters (failover) has no endpoints, limits or connections of its own.
        if row.subject == NAME or row.ours == "tieline_bound_endpoints":
            self._seen[row.subject].add(subject)
        if part:
            self._time(row, subject, part[2], labels.get("le", ""), value)
        else:
            known = self._values.setdefault(row, {})
            where = (*subject, *_classes(labels), *row.extra.values())
            known[where] = row.join((known[where], value)) if where in known else value

    def _time(self, row: Row, subject: Labels, part: str, le: str, milliseconds: float) -> None:
        time = self._times.setdefault(row, {}).setdefault(subject, _Distribution())
        if part == "sum":
            time.seconds += milliseconds / 1000
        elif part == "bucket":
            bound = le if le == "+Inf" else str(float(le) / 1000)
            time.buckets[bound] = time.buckets.get(bound, 0.0) + milliseconds

    def families(self) -> Iterator[Metric]:
        """What Envoy has not counted yet of a subject that it knows is 0."""
        made: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for row in ROWS:
            if row.kind == HISTOGRAM:
                yield self._histogram(row)
                continue
            values = self._values.get(row, {})
            if not row.by_class and row.subject in self._seen:
                zeros = ((*subject, *row.extra.values()) for subject in self._seen[row.subject])
                values = {**dict.fromkeys(zeros, 0.0), **values}
            kind = CounterMetricFamily if row.kind == COUNTER else GaugeMetricFamily
            family = made.setdefault(row.ours, kind(row.ours, row.text, labels=row.labels))
            for labels in sorted(values):
                family.add_metric(labels, values[labels])
        yield from made.values()

    def _histogram(self, row: Row) -> Metric:
        family = HistogramMetricFamily(row.ours, row.text, labels=row.labels)
        for labels, time in sorted(self._times.get(row, {}).items()):
            family.add_metric(labels, list(time.buckets.items()), time.seconds)
        return family


def _classes(labels: Mapping[str, str]) -> Labels:
    found = labels.get("envoy_response_code_class")
    return (f"{found}xx",) if found else ()


async def families(admin: File, subjects: Callable[[], Subjects]) -> list[Metric]:
    """Of the proxy behind this admin socket."""
    up = GaugeMetricFamily("tieline_proxy_up", "1 while Envoy answers; of one that does not, nothing else is told.")
    try:
        async with asyncio.timeout(envoy_admin.TIMEOUT_SECONDS):
            await envoy_admin.get(admin, FLUSH)
            translation = Translation(subjects())
            await envoy_admin.lines(admin, TARGET, translation.feed)
    except (OSError, TimeoutError, ValueError, EOFError):
        up.add_metric([], 0)
        return [up]
    up.add_metric([], 1)
    return [up, *translation.families()]
