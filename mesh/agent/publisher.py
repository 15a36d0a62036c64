"""What is bound becomes what Envoy is told: clusters with their endpoints, and one scope for each name.

Make before break is the session's work (`mesh.xds.session`); here the order of changes says what depends on what: the
cluster and its endpoints are put before the scope that leads to them, and a cluster nobody leads to any more stays for
`linger_seconds`, so that a name that swings back finds it warm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration
from google.protobuf.message import Message

from discovery.address import Bound, Endpoint, Known, Protocol, State
from discovery.path import Path
from mesh.agent.counted import Counted
from mesh.agent.failover import standing_by, won
from mesh.agent.mirrors import Copied
from mesh.agent.names import Key, Name
from mesh.agent.overlap import Part, counted, endpoints_of, leaves, parts
from mesh.agent.refusal import Refusal, hidden
from mesh.agent.targets import Failover, Target, Targets
from mesh.envoy import clusters, endpoints, names, routes
from mesh.envoy.composite import composite
from mesh.envoy.labels import label
from mesh.naming.tree import BoundTree
from mesh.policy.effective import OfBoundName, Policies
from mesh.policy.subset import in_subset
from mesh.xds.resource import CLUSTER, ENDPOINTS, SCOPE, Resource, resource
from mesh.xds.server import Ads

logger = logging.getLogger("tieline.publisher")


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
        accepting: frozenset[str] = frozenset(),
        counted: Counted | None = None,
        table: Callable[[], str] = lambda: "",
        hiding: frozenset[str] = frozenset(),
    ) -> None:
        """`accepting`: the routers whose requests may bring a table. `table`: the version of the one in force, if it is
        to be told. `hiding`: the routers whose callers don't hear why a request failed."""
        self._ads = ads
        self.policies = policies or Policies()
        self._zone = zone
        self._accepting = accepting
        self._counted = counted or Counted(0)
        self._table = table
        self._hiding = hiding
        self._state = state
        self._clock = clock
        self._linger_seconds = linger_seconds
        self._users: dict[str, int] = {}
        self._unused_since: dict[str, float] = {}
        self._parts: dict[str, Target | Failover] = {}
        self._drawn_from: dict[Path, set[str]] = {}
        """The clusters whose endpoints depend on a bound name."""
        self._spoken: dict[str, Protocol | None] = {}
        self._complained: dict[Path, str] = {}
        self._unions: dict[Path, dict[Key, _Split]] = {}
        """What leads to several bound names: whether these share instances depends on their endpoints."""

    def publish(self, name: Name, tree: BoundTree) -> None:
        """gRPC needs HTTP/2. Where endpoints don't say what they speak, gRPC has a cluster of its own, and only for a
        name that gRPC was asked of: most never are, and each cluster is memory in Envoy."""
        behind, whole, tree = standing_by(tree), tree, won(tree)
        found = parts(tree, self._known)
        tree = counted(tree, found, self._known)
        served = {id: found[id] for id in leaves(tree)}
        settings = self.policies.of_name(name.path)
        targets = Targets(
            served, behind, partial(self.policies.of_bound, name.path), self._said, settings.retries.num_retries
        )
        split = _Split(name, whole, served) if len(found) > 1 else None
        self._remember(name, split, frozenset((*found, *targets.ids)))
        takes_grpc = name.grpc or all(map(self._said, targets.ids))
        copied = Copied(self.policies, self._said)
        scope = routes.scope(
            name.router,
            name.key,
            tree,
            settings,
            targets.cluster,
            targets.grpc_cluster if takes_grpc else None,
            name.consumed,
            self._tables(name),
            copied.mirrors(name.copies, takes_grpc=takes_grpc),
        )
        name.mirrored = copied.needed.keys() - targets.needed.keys()
        self._replace(name, targets.needed | copied.needed, self._scope(name, scope))

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
        refusal = hidden(refusal) if name.router in self._hiding else refusal
        scope = routes.direct(name.router, name.key, refusal.status, refusal.body, refusal.err, self._tables(name))
        self._replace(name, {}, self._scope(name, scope))
        self._remember(name, None, frozenset())

    def _tables(self, name: Name) -> routes.Tables:
        return name.delegated or name.router in self._accepting

    def _scope(self, name: Name, message: ScopedRouteConfiguration) -> Resource:
        label(message, name.router, name.path, self._counted.prefix(name.router, name.path), self._table())
        return resource(names.scope_resource(name.router, name.key), message)

    def withdraw(self, name: Name) -> None:
        if name.published:
            self._ads.apply(put=(), remove=[(SCOPE, names.scope_resource(name.router, name.key))])
            name.published = False
        self._count(name, frozenset())
        self._remember(name, None, frozenset())

    def _replace(self, name: Name, targets: Mapping[str, Target | Failover], scope: Resource) -> None:
        fresh: list[tuple[str, Resource]] = []
        for cluster, target in targets.items():
            if cluster not in self._users:
                self._parts[cluster] = target
                for id in target.ids:
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
        target = self._parts[cluster]
        if isinstance(target, Failover):
            yield CLUSTER, resource(cluster, composite(target.members, target.policy))
            return
        part, policy = target.part, target.policy
        id, known = part.id, in_subset(part.endpoints(self._known), policy.balancing.subset)
        protocol = self._said(id) or _unsaid(cluster, policy)
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
        return endpoints_of(self._state(id))

    def _said(self, id: Path) -> Protocol | None:
        return Bound(self._known(id)).protocol

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
        tree = won(split.tree)
        found = parts(tree, self._known)
        if {id: found[id] for id in leaves(counted(tree, found, self._known))} != split.served:
            self.publish(split.name, split.tree)

    def clusters(self) -> Iterator[tuple[str, str]]:
        """Each cluster that Envoy has, and what is behind it, as a table has it."""
        for cluster, each in self._parts.items():
            led = [cluster] if isinstance(each, Target) else each.members
            targets = [self._parts[one] for one in led]
            ids = dict.fromkeys(one.part.id.show() for one in targets if isinstance(one, Target))
            yield cluster, " | ".join(ids)

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
        ids = self._parts.pop(cluster).ids
        for id in ids[:1]:
            self._complained.pop(id, None)
        for id in ids:
            self._drawn_from[id].discard(cluster)
            if not self._drawn_from[id]:
                del self._drawn_from[id]


def _unsaid(cluster: str, policy: OfBoundName) -> Protocol | None:
    """What is spoken where endpoints don't say it. Where that is TLS, the two can agree."""
    asks_grpc = policy.health_check is not None and policy.health_check.protocol == "grpc"
    if asks_grpc or cluster.endswith(names.GRPC):
        return Protocol.GRPC
    return None if policy.tls else Protocol.HTTP1
