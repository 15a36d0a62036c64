"""What the agent tells of itself: names, sources, proxies, metrics. Read from the parts as they are, when asked."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path as File
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from discovery.address import Bound, Known
from discovery.observatory import SourceEntry
from discovery.path import Path
from mesh.admin.metrics import Sample, counter, exposition, gauge, histogram
from mesh.agent import envoy_admin, proxy_metrics, sources
from mesh.agent.counted import OTHER
from mesh.agent.names import Name
from mesh.agent.proxy_metrics import Subjects
from mesh.agent.shown import shown
from mesh.agent.sources import Survey
from mesh.envoy.names import scope_resource, stat_name, stream_cluster
from mesh.naming.dtab import Dtab
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE, SECRET
from mesh.xds.status import Holding, Standing, StreamStatus, TypeStatus

if TYPE_CHECKING:
    from mesh.agent.wiring import Brain

TYPES = {CLUSTER: "CDS", ENDPOINTS: "EDS", LISTENER: "LDS", SCOPE: "SRDS", SECRET: "SDS"}


class BrainFacts:
    """Implements `mesh.admin.server.Facts`."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self._started = time.time()

    def ready(self) -> bool:
        return self._brain.serves()

    async def explain(self, name: str, router: str | None, local: Dtab | None) -> dict[str, object]:
        answer = await self._brain.explainer.explain(name, router, local)
        router = str(answer["router"])
        keys = answer.pop("in_use")
        assert isinstance(keys, list)
        keys = [key for key in keys if self._brain.ads.store.get(*self._resource(router, key))]
        answer["proxies"] = [
            self._proxy(router, str(key), holding) for key in keys for holding in self._holdings(router, key)
        ]
        return answer

    def _holdings(self, router: str, key: str) -> tuple[Holding, ...]:
        return self._brain.ads.holdings(*self._resource(router, key))

    def _resource(self, router: str, key: str) -> tuple[str, str]:
        """What Envoy has of a name."""
        if router in self._brain.stream_routers:
            return CLUSTER, stream_cluster(router, key)
        return SCOPE, scope_resource(router, key)

    def _proxy(self, router: str, key: str, holding: Holding) -> dict[str, object]:
        stored = self._brain.ads.store.get(*self._resource(router, key))
        return {
            "id": holding.node,
            "key": key,
            "has": holding.standing is Standing.APPLIED,
            "standing": holding.standing.value,
            "version": stored.version if stored else None,
        }

    def names(self) -> dict[str, object]:
        now = time.monotonic()
        return {"names": [self._name(name, now) for name in self._brain.binder.names if name.local is None]}

    def _name(self, name: Name, now: float) -> dict[str, object]:
        state = self._brain.observatory.state
        known = [each for each in (state(id) for id in sorted(name.clusters)) if isinstance(each, Known)]
        held = [each.held for each in known if each.held]
        if name.adopted:
            held.append("served as Envoy has it from an earlier brain: a source has not answered yet")
        return {
            "router": name.router,
            "key": name.key,
            "path": name.path.show(),
            "bound": shown(name),
            # An instance that two branches know is one.
            "endpoints": len({key for each in known if isinstance(each.addr, Bound) for key in _keys(each.addr)}),
            "held": held,
            "age_seconds": round(now - name.asked, 3),
            "idle_seconds": round(now - max(name.used, name.asked), 3),
        }

    async def catalog(self) -> dict[str, object]:
        return {"sources": await sources.listings(self._brain.observatory, self._brain.entries)}

    async def status(self) -> dict[str, object]:
        observatory, entries = self._brain.observatory, self._brain.entries
        surveys, now = sources.surveys(observatory, entries), time.time()
        return {
            "version": importlib.metadata.version("tieline"),
            "uptime_seconds": round(time.time() - self._started, 1),
            "ready": self.ready(),
            "table": self._brain.in_force.applied.version,
            "control": self._brain.control_status(),
            "brain": {"pid": os.getpid(), "rss_bytes": _rss_bytes()},
            "envoy": await self._envoy(),
            "names": {
                "in_use": self._brain.binder.names.in_use,
                "refused": self._brain.binder.names.refused_count,
                "delegated": self._brain.binder.names.delegated_count,
            },
            "sources": [
                sources.row(entry, surveys[entry.root], observatory.outage(entry.root), now) for entry in entries
            ],
            "proxies": [_stream(each) for each in self._brain.ads.status()],
            "certificates": self._brain.secrets.rows(),
            "nacks": self._brain.nacks.rows(),
            "snapshot": self._brain.snapshot.status(),
        }

    async def _envoy(self) -> dict[str, object]:
        try:
            answer = await envoy_admin.info(self._brain.envoy_admin)
        except (OSError, TimeoutError, ValueError, EOFError) as error:
            return {"version": None, "error": str(error) or type(error).__name__}
        return answer

    async def metrics(self) -> str:
        return exposition([*await proxy_metrics.families(self._brain.envoy_admin, self._subjects), *self._families()])

    def _subjects(self) -> Subjects:
        brain = self._brain
        routed = [each for each in brain.binder.names if each.router in brain.routers]
        names = {(each.router, brain.counted.known(each.router, each.path)): each.path for each in routed}
        return Subjects(
            routers=frozenset(brain.routers),
            names={key: OTHER if key[1] == OTHER else path.show() for key, path in names.items()},
            bound={stat_name(cluster): shown for cluster, shown in brain.publisher.clusters()},
        )

    def _families(self) -> Iterable[Metric]:
        brain = self._brain
        surveys = sources.surveys(brain.observatory, brain.entries)
        resolved: list[Sample] = [({"status": str(code)}, n) for code, n in brain.resolver.answers.items()]
        yield gauge("tieline_ready", "1 once an Envoy has acknowledged its configuration.", [({}, self.ready())])
        yield gauge("tieline_names", "Names in use.", [({}, brain.binder.names.in_use)])
        yield gauge(
            "tieline_names_delegated",
            "Names bound under tables that requests bring.",
            [({}, brain.binder.names.delegated_count)],
        )
        yield gauge("tieline_names_refused", "Names remembered as refused.", [({}, brain.binder.names.refused_count)])
        yield gauge(
            "tieline_observations",
            "Observations by source kind and state.",
            [({"kind": kind, "state": state}, number) for (kind, state), number in self._states(surveys).items()],
        )
        yield counter(
            "tieline_names_asked", "Names that were not in use and were asked for.", [({}, brain.binder.asked)]
        )
        yield counter("tieline_binds", "Evaluations of the delegation table.", [({}, brain.binder.binds)])
        yield counter("tieline_resolved", "Requests to names not bound yet, by answer.", resolved)
        yield counter("tieline_nacks", "Resources that Envoy refused.", [({}, brain.nacks.count)])
        yield gauge("tieline_proxy_streams", "Proxies connected to the brain.", [({}, len(brain.ads.status()))])
        yield gauge(
            "tieline_certificate_expiry_seconds", "When what Envoy has expires, since the epoch.", self._expiries()
        )
        yield from self._of_sources(surveys)
        yield from self._of_changes()
        yield from self._of_control()

    def _of_control(self) -> Iterable[Metric]:
        control = self._brain.control_status()
        if control is None:
            return
        yield gauge("tieline_control_up", "1 while the control plane is connected.", [({}, bool(control["connected"]))])
        version = control["version"]
        yield gauge(
            "tieline_table_version",
            "The control plane's version of the table in force; absent before there is one.",
            [] if version is None else [({}, float(str(version)))],
        )
        yield gauge(
            "tieline_table_refused",
            "1 while the last table that the control plane sent can't be used here.",
            [({}, control["refused"] is not None)],
        )

    def _expiries(self) -> list[Sample]:
        rows = self._brain.secrets.rows()
        return [({"name": str(row["name"])}, float(at)) for row in rows if isinstance(at := row["not_after"], float)]

    def _states(self, surveys: Mapping[Path | None, Survey]) -> Counter[tuple[str, str]]:
        kinds = {entry.root: entry.kind for entry in self._brain.entries}
        found: Counter[tuple[str, str]] = Counter()
        for root, survey in surveys.items():
            for state, number in survey.states.items():
                found[kinds[root] if root else "none", state] += number
        return found

    def _of_sources(self, surveys: Mapping[Path | None, Survey]) -> Iterable[Metric]:
        now, outage = time.time(), self._brain.observatory.outage
        every = [(_labels(entry), entry, surveys[entry.root]) for entry in self._brain.entries]
        asked = [each for each in every if each[2].observed]
        aged = [each for each in asked if sources.grows_old(each[1])]
        yield gauge(
            "tieline_source_up",
            "1 while the source answers for at least one of its names in use, else 0; absent while none is.",
            [(labels, survey.answered > 0) for labels, _, survey in asked],
        )
        yield gauge(
            "tieline_source_observed_names",
            "Names that are observed at the source.",
            [(labels, survey.observed) for labels, _, survey in every],
        )
        yield gauge(
            "tieline_source_held_names",
            "Names at their last known good: the source can't be asked, or what it says needs a second look.",
            [(labels, survey.states["held"]) for labels, _, survey in every],
        )
        yield gauge(
            "tieline_source_failed_names",
            "Names of which nothing is known, because asking the source for them has failed.",
            [(labels, survey.failed) for labels, _, survey in every],
        )
        yield counter(
            "tieline_source_errors",
            "Attempts to observe a name at the source that failed.",
            [(labels, outage(entry.root).errors) for labels, entry, _ in every],
        )
        yield gauge(
            "tieline_source_oldest_confirmation_age_seconds",
            "How long ago the source last confirmed the name that it has not confirmed for longest.",
            [(labels, max(0.0, now - survey.oldest)) for labels, _, survey in aged if survey.oldest is not None],
        )
        yield gauge(
            "tieline_source_newest_confirmation_age_seconds",
            "How long ago the source last confirmed any name.",
            [(labels, max(0.0, now - survey.newest)) for labels, _, survey in aged if survey.newest is not None],
        )

    def _of_changes(self) -> Iterable[Metric]:
        delays, entries = self._brain.propagation.delays, self._brain.entries
        lacking = self._brain.propagation.unacknowledged()
        yield histogram(
            "tieline_propagation_seconds",
            "From what a source says anew of a name in use until every proxy that wants it has acknowledged it.",
            [(_labels(each), delays[each.root].cumulative, delays[each.root].seconds) for each in entries],
        )
        yield gauge(
            "tieline_propagation_unacknowledged",
            "Changes that a proxy has not acknowledged yet.",
            [(_labels(each), lacking[each.root]) for each in entries],
        )


def _keys(addr: Bound) -> Iterable[tuple[str, int]]:
    return (endpoint.key for endpoint in addr.endpoints)


def _labels(entry: SourceEntry) -> dict[str, str]:
    return {"source": entry.root.show(), "kind": entry.kind}


def _stream(stream: StreamStatus) -> dict[str, object]:
    return {
        "id": stream.node,
        "connected_seconds": round(time.time() - stream.connected_at, 1),
        "types": {TYPES.get(each.type_url, each.type_url): _type(each) for each in stream.types},
    }


def _type(each: TypeStatus) -> dict[str, object]:
    settled = not each.waiting and each.in_flight_age is None
    return {
        "synced": "SYNCED" if settled and each.responses else "STALE" if each.responses else "NOT SENT",
        "held": each.held,
        "sent": each.responses,
        "acked": each.acked,
        "nacks": each.refused,
        "rejected": each.rejected,
        "last_ack_seconds": None if each.last_ack_age is None else round(each.last_ack_age, 3),
    }


def _rss_bytes() -> int:
    pages = int(File("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
