"""The brain's metrics in Prometheus' text form, counted when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Sample = tuple[Mapping[str, str], float]
Distribution = tuple[Mapping[str, str], Sequence[tuple[float, int]], float]
"""Labels; how many were at most so much, the last bound infinite; the sum of all."""


class _Now(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def gauge(name: str, text: str, samples: Iterable[Sample]) -> Metric:
    return _filled(GaugeMetricFamily, name, text, samples)


def counter(name: str, text: str, samples: Iterable[Sample]) -> Metric:
    return _filled(CounterMetricFamily, name, text, samples)


def histogram(name: str, text: str, samples: Iterable[Distribution]) -> Metric:
    rows = list(samples)
    family = HistogramMetricFamily(name, text, labels=list(rows[0][0]) if rows else [])
    for values, cumulative, total in rows:
        buckets = [("+Inf" if math.isinf(bound) else str(bound), number) for bound, number in cumulative]
        family.add_metric(list(values.values()), buckets, total)
    return family


def _filled(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily], name: str, text: str, samples: Iterable[Sample]
) -> Metric:
    rows = list(samples)
    labels = list(rows[0][0]) if rows else []
    family = kind(name, text, labels=labels)
    for values, value in rows:
        family.add_metric([values[label] for label in labels], value)
    return family


def exposition(families: Iterable[Metric]) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Now(families))
    return generate_latest(registry).decode()
