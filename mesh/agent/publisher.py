"""What is bound becomes what Envoy is told: clusters with their endpoints, and one scope for each name.

Make before break is the session's work (`mesh.xds.session`); here the order of changes says what depends on what: the
cluster and its endpoints are put before the scope that leads to them, and a cluster nobody leads to any more stays for
`linger_seconds`, so that a name that swings back finds it warm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

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
        self._users: dict[str, int] = {}
        self._unused_since: dict[str, float] = {}
        self._ids: dict[str, Path] = {}
        self._spoken: dict[str, Protocol] = {}
        self._complained: dict[Path, str] = {}

    def publish(self, name: Name, tree: BoundTree, ids: frozenset[Path]) -> None:
        """gRPC needs HTTP/2. Where endpoints don't say what they speak, gRPC has a cluster of its own, and only for a
        name that gRPC was asked of: most never are, and each cluster is memory in Envoy."""
        said = {id: _protocol(self._known(id)) for id in ids}

        def grpc(id: Path) -> str:
            return names.cluster_name(id) if said[id] else names.grpc_cluster_name(id)

        takes_grpc = name.grpc or all(said.values())
        scope = routes.scope(name.router, name.key, tree, grpc=grpc if takes_grpc else None)
        targets = {names.cluster_name(id): id for id in ids}
        if takes_grpc:
            targets |= {grpc(id): id for id in ids}
        self._replace(name, targets, self._scope(name, scope))
        name.clusters = ids

    def refuse(self, name: Name, refusal: Refusal) -> None:
        """The name exists and has nothing to offer: Envoy says so itself, without asking the brain per request."""
        scope = routes.direct(name.router, name.key, refusal.status, refusal.body, refusal.err)
        self._replace(name, {}, self._scope(name, scope))
        name.clusters = frozenset()

    @staticmethod
    def _scope(name: Name, message: Message) -> Resource:
        return resource(names.scope_resource(name.router, name.key), message)

    def withdraw(self, name: Name) -> None:
        if name.published:
            self._ads.apply(put=(), remove=[(SCOPE, names.scope_resource(name.router, name.key))])
            name.published = False
        self._count(name, frozenset())
        name.clusters = frozenset()

    def _replace(self, name: Name, targets: Mapping[str, Path], scope: Resource) -> None:
        fresh: list[tuple[str, Resource]] = []
        for cluster, id in targets.items():
            if cluster not in self._users:
                self._ids[cluster] = id
                fresh += self._cluster(cluster)
        self._ads.apply(put=[*fresh, (SCOPE, scope)], remove=())
        name.published = True
        self._count(name, frozenset(targets))

    def _count(self, name: Name, targets: frozenset[str]) -> None:
        for cluster in targets - name.targets:
            self._users[cluster] = self._users.get(cluster, 0) + 1
            self._unused_since.pop(cluster, None)
        for cluster in name.targets - targets:
            self._users[cluster] -= 1
            if not self._users[cluster]:
                self._unused_since[cluster] = self._clock()
        name.targets = targets

    def _cluster(self, cluster: str) -> Iterable[tuple[str, Resource]]:
        """The endpoints; the cluster too if it is new, or if what they speak is."""
        id = self._ids[cluster]
        known = self._known(id)
        unsaid = Protocol.HTTP1 if cluster == names.cluster_name(id) else Protocol.GRPC
        protocol = _protocol(known) or unsaid
        if self._spoken.get(cluster) is not protocol:
            self._spoken[cluster] = protocol
            yield CLUSTER, resource(cluster, clusters.cluster(id, protocol, cluster))
        yield ENDPOINTS, resource(cluster, self._assignment(cluster, id, known))

    def _assignment(self, cluster: str, id: Path, known: tuple[Endpoint, ...]) -> Message:
        complaint = "; ".join(each.reason for each in endpoints.invalid(known))
        if complaint != self._complained.get(id, ""):
            self._complained[id] = complaint
            if complaint:
                logger.error("endpoints left out", extra={"fields": {"name": id.show(), "why": complaint}})
        message: Message = endpoints.assignment(id, known, cluster)
        return message

    def _known(self, id: Path) -> tuple[Endpoint, ...]:
        state = self._state(id)
        return state.addr.endpoints if isinstance(state, Known) and isinstance(state.addr, Bound) else ()

    def changed(self, id: Path, state: State) -> None:
        """An observation changed. A name that is gone keeps its endpoints until no route leads to it."""
        if isinstance(state, Known) and isinstance(state.addr, Bound):
            used = [each for each in (names.cluster_name(id), names.grpc_cluster_name(id)) if each in self._users]
            self._ads.apply(put=[pair for cluster in used for pair in self._cluster(cluster)], remove=())

    def sweep(self) -> float | None:
        """Removes clusters unused for the linger time; the seconds until there is something to remove again."""
        now = self._clock()
        for cluster, since in list(self._unused_since.items()):
            if now - since < self._linger_seconds:
                return self._linger_seconds - (now - since)
            self._forget(cluster)
        return None

    def _forget(self, cluster: str) -> None:
        self._ads.apply(put=(), remove=[(CLUSTER, cluster), (ENDPOINTS, cluster)])
        del self._users[cluster]
        del self._unused_since[cluster]
        self._spoken.pop(cluster, None)
        self._complained.pop(self._ids.pop(cluster), None)


def _protocol(known: tuple[Endpoint, ...]) -> Protocol | None:
    return Bound(known).protocol
