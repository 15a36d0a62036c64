"""How a replica is: what `/v1/health` and `/metrics` tell. Counted when they are asked for."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from mesh.admin.metrics import counter, gauge
from mesh.agent.sources import surveys, verdict
from mesh.control.access import Access
from mesh.control.api.in_force import InForce
from mesh.control.api.shapes import Health, StoreHealth
from mesh.control.api.watching import Watching
from mesh.control.audit import Audit
from mesh.control.journal import Journal
from mesh.control.judging import Judging
from mesh.control.listening import Tls
from mesh.control.recall import Recall
from mesh.control.stream import Streams
from mesh.control.tables import Tables

VERSION = importlib.metadata.version
WELL = ("ok", "unused")


@dataclass(frozen=True, slots=True)
class Vitals:
    """Implements `health.Vitals`."""

    store_kind: str
    replica: str
    tables: Tables
    in_force: InForce
    streams: Streams
    watching: Watching
    judging: Judging
    journal: Journal
    recall: Recall
    access: Access
    audit: Audit
    tls: Tls | None
    clock: Callable[[], float] = time.time
    started: float = field(default_factory=time.time)

    def ready(self) -> bool:
        return self.in_force.known

    def health(self) -> Health:
        wrong = list(self._wrong())
        return Health(
            ok=not wrong,
            wrong=wrong,
            version=VERSION("tieline"),
            replica=self.replica,
            up_seconds=round(self.clock() - self.started, 1),
            store=StoreHealth(self.store_kind, self.in_force.known, self.tables.held, self._held_seconds()),
            namespaces=sum(each.content is not None for each in self.tables.all().values()),
            agents=len(self.streams),
            streams=len(self.watching),
            sources=self._sources(),
        )

    def _wrong(self) -> Iterator[str]:
        if self.tables.held is not None:
            yield f"the store can't be asked, what was known is kept: {self.tables.held}"
        yield from self.tables.unreadable.values()
        yield from (f"the source {prefix} is {state}" for prefix, state in self._sources().items() if state not in WELL)
        if self.audit.failing is not None:
            yield f"no change can be made, the audit log can't be written: {self.audit.failing}"
        if self.access.problem is not None:
            yield f"the tokens_file can't be used, the last good one counts: {self.access.problem}"
        if self.journal.failing is not None:
            yield f"the journal can't be written: {self.journal.failing}"
        if self.recall.failing is not None:
            yield f"the names in use can't be written down: {self.recall.failing}"
        if self.tls is not None and self.tls.problem is not None:
            yield f"the certificate can't be used, the last good one stays: {self.tls.problem}"

    def _held_seconds(self) -> float | None:
        since = self.tables.held_since
        return None if since is None else round(self.clock() - since, 3)

    def _sources(self) -> dict[str, str]:
        entries = self.judging.entries
        found = surveys(self.judging.observatory, entries)
        return {each.root.show(): verdict(found[each.root]) for each in entries}

    def metrics(self) -> Iterable[Metric]:
        yield gauge("tieline_control_agents", "Agents whose stream is open.", [({}, len(self.streams))])
        yield counter("tieline_control_frames", "Frames sent to agents.", [({}, self.streams.sent)])
        held = self._held_seconds()
        yield gauge(
            "tieline_control_store_held_seconds", "Since when the store can't be asked; 0: it can.", [({}, held or 0.0)]
        )
        versions = [({"namespace": each.namespace}, each.number) for each in self.tables.all().values()]
        yield gauge("tieline_control_table_version", "The version of each namespace.", versions)
        yield counter(
            "tieline_control_audit_failures", "Records that could not be written.", [({}, self.audit.failures)]
        )
        seconds = self.judging.seconds
        yield gauge(
            "tieline_control_preview_seconds",
            "How long the last preview took.",
            [] if seconds is None else [({}, seconds)],
        )
        yield gauge("tieline_control_watch_streams", "Streams of Namerd's API.", [({}, len(self.watching))])
