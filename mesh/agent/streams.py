"""What is bound becomes what Envoy is told, for TCP and TLS routers: one cluster for each name, and who leads there.

A TCP router's port opens when its name has been bound, or can't be. From then on it stays open: while the name leads
nowhere its connections are closed at once. A TLS router's name that leads nowhere is asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from discovery.address import Bound, Endpoint, Failed, Known, Pending, State
from discovery.path import Path
from mesh.agent.branches import branches
from mesh.agent.failover import standing_by
from mesh.agent.names import Name
from mesh.agent.overlap import endpoints_of, every_leaf, leaves
from mesh.agent.refusal import Refusal, refused
from mesh.agent.stream_routers import StreamRouter
from mesh.envoy import endpoints, streams
from mesh.envoy.names import stream_cluster
from mesh.envoy.streams import Connections
from mesh.naming.tree import BoundTree
from mesh.policy.effective import OfBoundName, Policies, of_bound_name, with_others_behind
from mesh.policy.subset import in_subset
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, Resource, resource
from mesh.xds.server import Ads

logger = logging.getLogger("tieline.streams")


@dataclass(slots=True)
class _Served:
    """Of a TLS router. `chains`: all that were ever needed: open connections stay on theirs."""

    bound: dict[str, Connections] = field(default_factory=dict)
    chains: set[Connections] = field(default_factory=set)


class StreamPublisher:
    def __init__(
        self,
        ads: Ads,
        state: Callable[[Path], State],
        clock: Callable[[], float],
        linger_seconds: float,
        policies: Policies,
        routers: Mapping[str, StreamRouter],
        resolver_timeout: timedelta,
        zone: str = "",
    ) -> None:
        self.policies = policies
        self._ads = ads
        self._state = state
        self._clock = clock
        self._linger_seconds = linger_seconds
        self._routers = routers
        self._resolver_timeout = resolver_timeout
        self._zone = zone
        self._served = {name: _Served() for name in routers}
        self._trees: dict[str, tuple[Name, BoundTree]] = {}
        """By cluster: what it is for, and what that leads to."""
        self._drawn_from: dict[Path, set[str]] = {}
        self._unused_since: dict[str, float] = {}
        self._nowhere: dict[str, str] = {}
        """Why a TCP router's name leads nowhere, as it was logged."""
        self._complained: dict[str, str] = {}

    def open(self) -> None:
        """TLS routers take connections before they have names."""
        self._ads.apply(put=[self._listener(name) for name, each in self._routers.items() if each.to is None])

    def adopt(self, name: Name) -> None:
        """Envoy has it from an earlier brain."""
        name.targets = frozenset((_cluster(name),))
        self._lead(name)
        self._ads.apply(put=[self._listener(name.router)])

    def publish(self, name: Name, tree: BoundTree) -> None:
        cluster = _cluster(name)
        self._remember(name, tree)
        self._unused_since.pop(cluster, None)
        policy = self._policy(name.path, tree)
        put = [(CLUSTER, resource(cluster, streams.cluster(cluster, name.path, policy)))]
        self._lead(name)
        self._ads.apply(put=[*put, self._assignment(cluster, policy), self._listener(name.router)])
        name.published, name.targets = True, frozenset((cluster,))
        if self._nowhere.pop(cluster, None):
            logger.info("connections are taken again", extra={"fields": _fields(name)})

    def refuse(self, name: Name, refusal: Refusal) -> None:
        """The name exists and has nothing to offer."""
        self._close(name, refusal.err)

    def withdraw(self, name: Name) -> None:
        if not name.fixed and _cluster(name) in name.targets:
            self._unused_since[_cluster(name)] = self._clock()
            name.targets = frozenset()
        self._close(name, self._why(name))

    def changed(self, id: Path, state: State) -> None:
        """An observation changed. A name that is gone keeps its endpoints while something leads to it."""
        if isinstance(state, Known) and isinstance(state.addr, Bound):
            used = [each for each in sorted(self._drawn_from.get(id, ())) if each not in self._unused_since]
            self._ads.apply(put=[self._assignment(each, self._policy_of(each)) for each in used])

    def clusters(self) -> Iterator[tuple[str, str]]:
        """Each cluster that Envoy has, and what it is called among the metrics of what names lead to."""
        for cluster in (*self._trees, *self._unused_since):
            yield cluster, cluster

    def sweep(self) -> None:
        """Removes clusters unused for the linger time."""
        now = self._clock()
        for cluster, since in list(self._unused_since.items()):
            if now - since >= self._linger_seconds:
                del self._unused_since[cluster]
                self._complained.pop(cluster, None)
                self._ads.apply(remove=[(CLUSTER, cluster), (ENDPOINTS, cluster)])

    def _close(self, name: Name, why: str) -> None:
        """Open connections stay: they end when their endpoint ends them."""
        cluster = _cluster(name)
        self._remember(name, None)
        put: list[tuple[str, Resource]] = []
        if name.fixed and self._ads.store.get(CLUSTER, cluster) is None:
            policy = self._policy(name.path)
            put.append((CLUSTER, resource(cluster, streams.cluster(cluster, name.path, policy))))
        if name.fixed or name.published:
            put.append((ENDPOINTS, resource(cluster, streams.assignment(cluster, ()))))
            self._served[name.router].bound.pop(name.key, None)
            put.append(self._listener(name.router))
        self._ads.apply(put=put)
        name.published = name.fixed
        if name.fixed and self._nowhere.get(cluster) != why:
            self._nowhere[cluster] = why
            logger.warning("connections are closed at once", extra={"fields": {**_fields(name), "why": why}})

    def _why(self, name: Name) -> str:
        if name.binding is None:
            return ""
        unanswered = any(isinstance(self._state(path), Failed | Pending) for path in name.binding.wanted)
        return refused(name.binding, name.key, unanswered=unanswered).err

    def _lead(self, name: Name) -> None:
        served, said = self._served[name.router], streams.connections(self.policies.of_name(name.path))
        served.bound[name.key] = said
        served.chains.add(said)

    def _listener(self, router: str) -> tuple[str, Resource]:
        of, served = self._routers[router], self._served[router]
        if of.to is None:
            message = streams.tls_listener(of.stream, served.bound, served.chains, self._resolver_timeout)
        else:
            said = streams.connections(self.policies.of_name(of.to))
            message = streams.tcp_listener(of.stream, of.to.show(), said)
        return LISTENER, resource(router, message)

    def _remember(self, name: Name, tree: BoundTree | None) -> None:
        cluster = _cluster(name)
        for id in name.clusters:
            self._drawn_from[id].discard(cluster)
            if not self._drawn_from[id]:
                del self._drawn_from[id]
        self._trees.pop(cluster, None)
        name.clusters = frozenset()
        if tree is not None:
            self._trees[cluster] = name, tree
            name.clusters = frozenset(every_leaf(tree))
        for id in name.clusters:
            self._drawn_from.setdefault(id, set()).add(cluster)

    def _policy_of(self, cluster: str) -> OfBoundName:
        name, tree = self._trees[cluster]
        return self._policy(name.path, tree)

    def _policy(self, path: Path, tree: BoundTree | None = None) -> OfBoundName:
        """What is said of all that the name leads to holds for its one cluster; what is said of a part of it can't."""
        found = {self.policies.of_bound(path, id) for id in leaves(tree)}
        policy = found.pop() if len(found) == 1 else of_bound_name(self.policies.of_name(path))
        return with_others_behind(policy) if tree is not None and any(standing_by(tree).values()) else policy

    def _assignment(self, cluster: str, policy: OfBoundName) -> tuple[str, Resource]:
        name, tree = self._trees[cluster]
        self._complain(name, cluster)
        zone = self._zone if policy.balancing.prefer_zone else ""

        def known(id: Path) -> tuple[Endpoint, ...]:
            return in_subset(self._known(id), policy.balancing.subset)

        return ENDPOINTS, resource(cluster, streams.assignment(cluster, branches(tree, known), zone))

    def _known(self, id: Path) -> tuple[Endpoint, ...]:
        return endpoints_of(self._state(id))

    def _complain(self, name: Name, cluster: str) -> None:
        wrong = (each.reason for id in sorted(name.clusters) for each in endpoints.invalid(self._known(id)))
        complaint = "; ".join(wrong)
        if complaint != self._complained.get(cluster, ""):
            self._complained[cluster] = complaint
            if complaint:
                logger.error("endpoints left out", extra={"fields": {"name": name.path.show(), "why": complaint}})


def _cluster(name: Name) -> str:
    return stream_cluster(name.router, name.key)


def _fields(name: Name) -> dict[str, object]:
    return {"router": name.router, "name": name.path.show()}
