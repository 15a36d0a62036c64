"""What the agent tells of itself: names, sources, proxies, metrics. Read from the parts as they are, when asked."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path as File
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from discovery.address import Known, Pending, State
from discovery.observatory import SourceEntry
from discovery.path import Path
from discovery.source import SourceError
from mesh.admin.metrics import Sample, counter, exposition, gauge
from mesh.agent import envoy_admin
from mesh.agent.names import Name
from mesh.envoy.names import scope_resource
from mesh.naming.bind import Broken, Waiting
from mesh.naming.dtab import Dtab
from mesh.naming.show import show_tree
from mesh.naming.tree import Alt, BoundTree, Leaf, NameTree, Union, Weighted
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE
from mesh.xds.status import Holding, Standing, StreamStatus, TypeStatus

if TYPE_CHECKING:
    from mesh.agent.wiring import Brain

TYPES = {CLUSTER: "CDS", ENDPOINTS: "EDS", LISTENER: "LDS", SCOPE: "SRDS"}
ENVOY_METRICS = "/stats/prometheus?usedonly"


class BrainFacts:
    """Implements `mesh.admin.server.Facts`."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self._started = time.time()

    def ready(self) -> bool:
        """It was ready once, and an Envoy is connected that has its listeners."""
        return self._brain.ready and any(
            each.type_url == LISTENER and each.held for stream in self._brain.ads.status() for each in stream.types
        )

    async def explain(self, name: str, router: str | None, local: Dtab | None) -> dict[str, object]:
        answer = await self._brain.explainer.explain(name, router, local)
        router = str(answer["router"])
        keys = answer.pop("in_use")
        assert isinstance(keys, list)
        keys = [key for key in keys if self._brain.ads.store.get(SCOPE, scope_resource(router, key))]
        answer["proxies"] = [
            self._proxy(router, str(key), holding) for key in keys for holding in self._holdings(router, key)
        ]
        return answer

    def _holdings(self, router: str, key: str) -> tuple[Holding, ...]:
        return self._brain.ads.holdings(SCOPE, scope_resource(router, key))

    def _proxy(self, router: str, key: str, holding: Holding) -> dict[str, object]:
        stored = self._brain.ads.store.get(SCOPE, scope_resource(router, key))
        return {
            "id": holding.node,
            "key": key,
            "has": holding.standing is Standing.APPLIED,
            "standing": holding.standing.value,
            "version": stored.version if stored else None,
        }

    def names(self) -> dict[str, object]:
        now = time.monotonic()
        return {"names": [self._name(name, now) for name in self._brain.binder.names]}

    def _name(self, name: Name, now: float) -> dict[str, object]:
        state = self._brain.observatory.state
        known = [each for each in (state(id) for id in sorted(name.clusters)) if isinstance(each, Known)]
        tree = name.binding.tree if name.binding else None
        held = [each.held for each in known if each.held]
        if name.adopted:
            held.append("served as Envoy has it from an earlier brain: a source has not answered yet")
        return {
            "router": name.router,
            "key": name.key,
            "path": name.path.show(),
            "bound": None
            if tree is None or name.adopted or isinstance(tree, Waiting | Broken)
            else show_tree(_paths(tree)),
            "endpoints": sum(len(each.addr.endpoints) for each in known if hasattr(each.addr, "endpoints")),
            "held": held,
            "age_seconds": round(now - name.asked, 3),
            "idle_seconds": round(now - max(name.used, name.asked), 3),
        }

    async def catalog(self) -> dict[str, object]:
        """What each source could name. One that can't be asked is an error beside the others, not an empty list."""
        return {"sources": [await self._enumerated(entry) for entry in self._brain.entries]}

    async def _enumerated(self, entry: SourceEntry) -> dict[str, object]:
        row: dict[str, object] = {"prefix": entry.root.show(), "kind": entry.kind, "names": [], "error": None}
        try:
            row["names"] = sorted(path.show() for path in await self._brain.observatory.names(entry.root))
        except SourceError as error:
            row["error"] = str(error)
        return row

    async def status(self) -> dict[str, object]:
        return {
            "version": importlib.metadata.version("tieline"),
            "uptime_seconds": round(time.time() - self._started, 1),
            "ready": self.ready(),
            "brain": {"pid": os.getpid(), "rss_bytes": _rss_bytes()},
            "envoy": await self._envoy(),
            "names": {"in_use": len(self._brain.binder.names), "refused": self._brain.binder.names.refused_count},
            "sources": [self._source(entry) for entry in self._brain.entries],
            "proxies": [_stream(each) for each in self._brain.ads.status()],
            "nacks": self._brain.nacks.rows(),
            "snapshot": {"written_at": self._brain.snapshot.written_at},
        }

    async def _envoy(self) -> dict[str, object]:
        try:
            answer = await envoy_admin.info(self._brain.envoy_admin)
        except (OSError, TimeoutError, ValueError, EOFError) as error:
            return {"version": None, "error": str(error) or type(error).__name__}
        return answer

    def _states(self, entry: SourceEntry) -> Iterable[tuple[Path, State]]:
        for path, state, _ in self._brain.observatory.known():
            if self._brain.observatory.entry(path) is entry:
                yield path, state

    def _source(self, entry: SourceEntry) -> dict[str, object]:
        states = [state for _, state in self._states(entry)]
        known = [state for state in states if isinstance(state, Known)]
        held = [state.held for state in known if state.held]
        failed = [state.reason for state in states if not isinstance(state, Known) and state.reason]
        oldest = min((state.confirmed_at for state in known), default=None)
        return {
            "prefix": entry.root.show(),
            "kind": entry.kind,
            "state": _verdict(states, held, failed),
            "observations": len(states),
            "held": len(held),
            "failed": len(failed),
            "oldest_confirmed_seconds": None if oldest is None else round(time.time() - oldest, 1),
            "last_error": next(iter(failed + held), None),
        }

    async def metrics(self) -> str:
        ours = exposition(self._families())
        try:
            return ours + (await envoy_admin.get(self._brain.envoy_admin, ENVOY_METRICS)).decode()
        except (OSError, TimeoutError, ValueError, EOFError):
            return ours

    def _families(self) -> Iterable[Metric]:
        brain = self._brain
        states = Counter((kind or "none", _kind(state)) for _, state, kind in brain.observatory.known())
        resolved: list[Sample] = [({"status": str(code)}, n) for code, n in brain.resolver.answers.items()]
        yield gauge("tieline_ready", "1 once an Envoy has acknowledged its configuration.", [({}, self.ready())])
        yield gauge("tieline_names", "Names in use.", [({}, len(brain.binder.names))])
        yield gauge("tieline_names_refused", "Names remembered as refused.", [({}, brain.binder.names.refused_count)])
        yield gauge(
            "tieline_observations",
            "Observations by source kind and state.",
            [({"kind": kind, "state": state}, number) for (kind, state), number in states.items()],
        )
        yield counter(
            "tieline_names_asked", "Names that were not in use and were asked for.", [({}, brain.binder.asked)]
        )
        yield counter("tieline_binds", "Evaluations of the delegation table.", [({}, brain.binder.binds)])
        yield counter("tieline_resolved", "Requests to names not bound yet, by answer.", resolved)
        yield counter("tieline_nacks", "Resources that Envoy refused.", [({}, brain.nacks.count)])


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


def _paths(tree: BoundTree) -> NameTree[Path]:
    """A bound tree as it would be written."""
    match tree:
        case Leaf(name):
            return Leaf(name.id.then(name.residual))
        case Union(branches):
            return Union(tuple(Weighted(branch.weight, _paths(branch.tree)) for branch in branches))
        case Alt(trees):
            return Alt(tuple(_paths(each) for each in trees))
        case _:
            return tree


def _verdict(states: list[State], held: list[str], failed: list[str]) -> str:
    if not states:
        return "unused"
    if failed:
        return "failed"
    return "held" if held else "ok"


def _kind(state: State) -> str:
    if isinstance(state, Known):
        return "held" if state.held else "known"
    return "pending" if isinstance(state, Pending) else "failed"


def _rss_bytes() -> int:
    pages = int(File("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
