"""What is bound becomes what Envoy is told: clusters with their endpoints, and one scope for each name.

Make before break is the session's work (`mesh.xds.session`); here the order of changes says what depends on what: the
cluster and its endpoints are put before the scope that leads to them, and a cluster nobody leads to any more stays for
`linger_seconds`, so that a name that swings back finds it warm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from google.protobuf.message import Message

from discovery.address import Bound, Endpoint, Known, Protocol, State
from discovery.path import Path
from mesh.agent.names import Name
from mesh.agent.refusal import Refusal
from mesh.envoy import clusters, endpoints, names, routes
from mesh.naming.tree import BoundTree
from mesh.xds.resource import CLUSTER, ENDPOINTS, SCOPE, Resource, resource
from mesh.xds.server import Ads

logger = logging.getLogger("tieline.publisher")


class Publisher:
    def __init__(
        self, ads: Ads, state: Callable[[Path], State], clock: Callable[[], float], linger_seconds: float
    ) -> None:
        self._ads = ads
        self._state = state
        self._clock = clock
        self._linger_seconds = linger_seconds
        self._users: dict[Path, int] = {}
        self._unused_since: dict[Path, float] = {}
        self._protocols: dict[Path, Protocol | None] = {}
        self._complained: dict[Path, str] = {}

    def publish(self, name: Name, tree: BoundTree, ids: frozenset[Path]) -> None:
        scope = routes.scope(name.router, name.key, tree)
        self._replace(name, ids, self._scope(name, scope))

    def refuse(self, name: Name, refusal: Refusal) -> None:
        """The name exists and has nothing to offer: Envoy says so itself, without asking the brain per request."""
        scope = routes.direct(name.router, name.key, refusal.status, refusal.body, refusal.err)
        self._replace(name, frozenset(), self._scope(name, scope))

    @staticmethod
    def _scope(name: Name, message: Message) -> Resource:
        return resource(names.scope_resource(name.router, name.key), message)

    def withdraw(self, name: Name) -> None:
        if name.published:
            self._ads.apply(put=(), remove=[(SCOPE, names.scope_resource(name.router, name.key))])
            name.published = False
        self._count(name, frozenset())

    def _replace(self, name: Name, ids: frozenset[Path], scope: Resource) -> None:
        fresh = [pair for id in sorted(ids - name.clusters) if id not in self._users for pair in self._cluster(id)]
        self._ads.apply(put=[*fresh, (SCOPE, scope)], remove=())
        name.published = True
        self._count(name, ids)

    def _count(self, name: Name, ids: frozenset[Path]) -> None:
        for id in ids - name.clusters:
            self._users[id] = self._users.get(id, 0) + 1
            self._unused_since.pop(id, None)
        for id in name.clusters - ids:
            self._users[id] -= 1
            if not self._users[id]:
                self._unused_since[id] = self._clock()
        name.clusters = ids

    def _cluster(self, id: Path) -> Iterable[tuple[str, Resource]]:
        """The endpoints; the cluster too if it is new, or if what they speak is."""
        known, cluster = self._known(id), names.cluster_name(id)
        protocol = _protocol(known)
        if id not in self._protocols or self._protocols[id] is not protocol:
            self._protocols[id] = protocol
            yield CLUSTER, resource(cluster, clusters.cluster(id, protocol))
        yield ENDPOINTS, resource(cluster, self._assignment(id, known))

    def _assignment(self, id: Path, known: tuple[Endpoint, ...]) -> Message:
        complaint = "; ".join(each.reason for each in endpoints.invalid(known))
        if complaint != self._complained.get(id, ""):
            self._complained[id] = complaint
            if complaint:
                logger.error("endpoints left out", extra={"fields": {"name": id.show(), "why": complaint}})
        message: Message = endpoints.assignment(id, known)
        return message

    def _known(self, id: Path) -> tuple[Endpoint, ...]:
        state = self._state(id)
        return state.addr.endpoints if isinstance(state, Known) and isinstance(state.addr, Bound) else ()

    def changed(self, id: Path, state: State) -> None:
        """An observation changed. A name that is gone keeps its endpoints until no route leads to it."""
        if id in self._users and isinstance(state, Known) and isinstance(state.addr, Bound):
            self._ads.apply(put=self._cluster(id), remove=())

    def sweep(self) -> float | None:
        """Removes clusters unused for the linger time; the seconds until there is something to remove again."""
        now = self._clock()
        for id, since in list(self._unused_since.items()):
            if now - since < self._linger_seconds:
                return self._linger_seconds - (now - since)
            self._forget(id)
        return None

    def _forget(self, id: Path) -> None:
        cluster = names.cluster_name(id)
        self._ads.apply(put=(), remove=[(CLUSTER, cluster), (ENDPOINTS, cluster)])
        del self._users[id]
        del self._unused_since[id]
        self._protocols.pop(id, None)
        self._complained.pop(id, None)

    @property
    def clusters(self) -> Iterable[Path]:
        return self._users.keys()


def _protocol(known: Iterable[Endpoint]) -> Protocol | None:
    """What all endpoints say they speak; None where they don't say, or don't agree."""
    said = {endpoint.protocol for endpoint in known}
    return said.pop() if len(said) == 1 else None
