"""The brain's metrics in Prometheus' text form, counted when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Sample = tuple[Mapping[str, str], float]


class _Now(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def gauge(name: str, text: str, samples: Iterable[Sample]) -> Metric:
    return _filled(GaugeMetricFamily, name, text, samples)


def counter(name: str, text: str, samples: Iterable[Sample]) -> Metric:
    return _filled(CounterMetricFamily, name, text, samples)


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
