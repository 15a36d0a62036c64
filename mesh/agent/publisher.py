"""What is bound becomes what Envoy is told: clusters with their endpoints, and one scope for each name.

Make before break is the session's work (`mesh.xds.session`); here the order of changes says what depends on what: the
cluster and its endpoints are put before the scope that leads to them, and a cluster nobody leads to any more stays for
`linger_seconds`, so that a name that swings back finds it warm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from discovery.address import Bound, Endpoint, Known, Protocol, State
from discovery.path import Path
from mesh.agent.names import Key, Name
from mesh.agent.overlap import Part, counted, leaves, parts
from mesh.agent.refusal import Refusal
from mesh.envoy import clusters, endpoints, names, routes
from mesh.naming.tree import BoundTree
from mesh.policy.effective import OfBoundName, Policies
from mesh.xds.resource import CLUSTER, ENDPOINTS, SCOPE, Resource, resource
from mesh.xds.server import Ads

logger = logging.getLogger("tieline.publisher")


@dataclass(frozen=True, slots=True)
class Target:
    """What a cluster is made of."""

    part: Part
    policy: OfBoundName

    @property
    def cluster(self) -> str:
        return names.cluster_name(self.part.id, self.part.without, self.policy.suffix)

    @property
    def grpc_cluster(self) -> str:
        return names.grpc_cluster_name(self.part.id, self.part.without, self.policy.suffix)


@dataclass(frozen=True, slots=True)
class _Split:
    """A union as it was published: `served` is what became of its branches."""

    name: Name
    tree: BoundTree
    served: Mapping[Path, Part]


class Publisher:
    def __init__(
        self,
        ads: Ads,
        state: Callable[[Path], State],
        clock: Callable[[], float],
        linger_seconds: float,
        policies: Policies | None = None,
        zone: str = "",
    ) -> None:
        self._ads = ads
        self.policies = policies or Policies()
        self._zone = zone
        self._state = state
        self._clock = clock
        self._linger_seconds = linger_seconds
        self._users: dict[str, int] = {}
        self._unused_since: dict[str, float] = {}
        self._parts: dict[str, Target] = {}
        self._drawn_from: dict[Path, set[str]] = {}
        """The clusters whose endpoints depend on a bound name."""
        self._spoken: dict[str, Protocol | None] = {}
        self._complained: dict[Path, str] = {}
        self._unions: dict[Path, dict[Key, _Split]] = {}
        """What leads to several bound names: whether these share instances depends on their endpoints."""

    def publish(self, name: Name, tree: BoundTree) -> None:
        """gRPC needs HTTP/2. Where endpoints don't say what they speak, gRPC has a cluster of its own, and only for a
        name that gRPC was asked of: most never are, and each cluster is memory in Envoy."""
        found = parts(tree, self._known)
        whole, tree = tree, counted(tree, found, self._known)
        served = {id: found[id] for id in leaves(tree)}
        self._remember(name, _Split(name, whole, served) if len(found) > 1 else None, frozenset(found))
        said = {id: _protocol(self._known(id)) for id in served}

        targeted = {id: Target(part, self.policies.of_bound(name.path, id)) for id, part in served.items()}

        def cluster(id: Path) -> str:
            return targeted[id].cluster

        def grpc(id: Path) -> str:
            return targeted[id].cluster if said[id] else targeted[id].grpc_cluster

        takes_grpc = name.grpc or all(said.values())
        settings = self.policies.of_name(name.path)
        scope = routes.scope(
            name.router, name.key, tree, settings, cluster, grpc if takes_grpc else None, name.consumed
        )
        targets = {cluster(id): target for id, target in targeted.items()}
        if takes_grpc:
            targets |= {grpc(id): target for id, target in targeted.items()}
        self._replace(name, targets, self._scope(name, scope))

    def _remember(self, name: Name, split: _Split | None, ids: frozenset[Path]) -> None:
        for id in name.clusters:
            self._unions.get(id, {}).pop(name.id, None)
            if not self._unions.get(id, True):
                del self._unions[id]
        for id in ids if split else ():
            assert split is not None
            self._unions.setdefault(id, {})[name.id] = split
        name.clusters = ids

    def refuse(self, name: Name, refusal: Refusal) -> None:
        """The name exists and has nothing to offer: Envoy says so itself, without asking the brain per request."""
        scope = routes.direct(name.router, name.key, refusal.status, refusal.body, refusal.err)
        self._replace(name, {}, self._scope(name, scope))
        self._remember(name, None, frozenset())

    @staticmethod
    def _scope(name: Name, message: Message) -> Resource:
        return resource(names.scope_resource(name.router, name.key), message)

    def withdraw(self, name: Name) -> None:
        if name.published:
            self._ads.apply(put=(), remove=[(SCOPE, names.scope_resource(name.router, name.key))])
            name.published = False
        self._count(name, frozenset())
        self._remember(name, None, frozenset())

    def _replace(self, name: Name, targets: Mapping[str, Target], scope: Resource) -> None:
        fresh: list[tuple[str, Resource]] = []
        for cluster, target in targets.items():
            if cluster not in self._users:
                self._parts[cluster] = target
                for id in target.part.ids:
                    self._drawn_from.setdefault(id, set()).add(cluster)
            if not self._users.get(cluster):
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
        part, policy = self._parts[cluster].part, self._parts[cluster].policy
        id, known = part.id, part.endpoints(self._known)
        # Where TLS is spoken, the two can agree.
        plain = None if policy.tls else Protocol.HTTP1
        unsaid = Protocol.GRPC if cluster.endswith(names.GRPC) else plain
        protocol = _protocol(self._known(id)) or unsaid
        if cluster not in self._spoken or self._spoken[cluster] is not protocol:
            self._spoken[cluster] = protocol
            yield CLUSTER, resource(cluster, clusters.cluster(id, protocol, cluster, policy))
        zone = self._zone if policy.balancing.prefer_zone else ""
        yield ENDPOINTS, resource(cluster, self._assignment(cluster, id, known, zone))

    def _assignment(self, cluster: str, id: Path, known: tuple[Endpoint, ...], zone: str) -> Message:
        complaint = "; ".join(each.reason for each in endpoints.invalid(known))
        if complaint != self._complained.get(id, ""):
            self._complained[id] = complaint
            if complaint:
                logger.error("endpoints left out", extra={"fields": {"name": id.show(), "why": complaint}})
        message: Message = endpoints.assignment(id, known, cluster, zone)
        return message

    def _known(self, id: Path) -> tuple[Endpoint, ...]:
        state = self._state(id)
        return state.addr.endpoints if isinstance(state, Known) and isinstance(state.addr, Bound) else ()

    def changed(self, id: Path, state: State) -> None:
        """An observation changed. A name that is gone keeps its endpoints while a route leads to it; a cluster that no
        route leads to is told when one does: Envoy may not have heard yet that the last one has turned away."""
        if isinstance(state, Known) and isinstance(state.addr, Bound):
            used = sorted(each for each in self._drawn_from.get(id, ()) if self._users[each])
            self._ads.apply(put=[pair for cluster in used for pair in self._cluster(cluster)], remove=())
            for split in list(self._unions.get(id, {}).values()):
                self._split_again(split)

    def _split_again(self, split: _Split) -> None:
        """Instances that two branches share may have come or gone."""
        found = parts(split.tree, self._known)
        if {id: found[id] for id in leaves(counted(split.tree, found, self._known))} != split.served:
            self.publish(split.name, split.tree)

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
        part = self._parts.pop(cluster).part
        self._complained.pop(part.id, None)
        for id in part.ids:
            self._drawn_from[id].discard(cluster)
            if not self._drawn_from[id]:
                del self._drawn_from[id]


def _protocol(known: tuple[Endpoint, ...]) -> Protocol | None:
    return Bound(known).protocol
