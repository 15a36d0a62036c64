"""A binder over a platform in memory: what it tells Envoy is read from the store, no Envoy needed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse
from google.protobuf.message import Message

from discovery.address import Addr, Endpoint, bound
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from mesh.agent.binder import Binder, Limits
from mesh.agent.names import Name
from mesh.agent.publisher import Publisher
from mesh.agent.routers import Identified, Router
from mesh.envoy.names import scope_resource
from mesh.naming.bind import Options
from mesh.naming.dtab import parse_dtab
from mesh.naming.namers import SourceNamer
from mesh.xds.events import Event
from mesh.xds.resource import CLUSTER, ENDPOINTS, SCOPE, Resource
from mesh.xds.server import Ads
from mesh.xds.store import Store
from tests.fakes.memory import Platform

LINGER = 10.0
ROUTER = Router("http", Path(("svc",)))
LIMITS = Limits()
SETTINGS = Settings(resync=0.0, confirm_after=0.0)
M = TypeVar("M", bound=Message)


def at(*ports: int) -> Addr:
    return bound(Endpoint("127.0.0.1", port) for port in ports)


def spellings(host: str) -> list[str]:
    """Every mixture of upper and lower case."""
    return ["".join(pair) for pair in itertools.product(*((c.lower(), c.upper()) for c in host))]


def decoded(resource: Resource, message: M) -> M:
    (entry,) = DeltaDiscoveryResponse.FromString(resource.frame).resources
    assert entry.resource.Unpack(message)
    return message


@dataclass(slots=True)
class World:
    """Platforms `/#/one` and `/#/two`; names of one segment."""

    one: Platform
    two: Platform
    observatory: Observatory
    ads: Ads
    events: list[Event]
    publisher: Publisher
    binder: Binder

    def ask(self, host: str, *, adopted: bool = False) -> Name:
        name = self.try_ask(host, adopted=adopted)
        assert name is not None, "no room"
        return name

    def try_ask(self, host: str, *, adopted: bool = False) -> Name | None:
        identified = ROUTER.identify({":authority": host})
        assert isinstance(identified, Identified), identified
        return self.binder.ask(identified.key, identified.path, adopted=adopted)

    def scope(self, key: str) -> ScopedRouteConfiguration | None:
        stored = self.ads.store.get(SCOPE, scope_resource(ROUTER.name, key))
        return decoded(stored, ScopedRouteConfiguration()) if stored else None

    def leads_to(self, key: str) -> dict[str, int]:
        """The clusters a key's requests go to, with their shares; none when there is no scope or a direct answer."""
        scope = self.scope(key)
        if scope is None:
            return {}
        action = scope.route_configuration.virtual_hosts[0].routes[-1].route
        split = {each.name: each.weight.value for each in action.weighted_clusters.clusters}
        return split or ({action.cluster: 1} if action.cluster else {})

    def answers(self, key: str) -> int:
        """The status of a direct answer; 0 when there is none."""
        scope = self.scope(key)
        return scope.route_configuration.virtual_hosts[0].routes[-1].direct_response.status if scope else 0

    def ports(self, cluster: str) -> set[int]:
        stored = self.ads.store.get(ENDPOINTS, cluster)
        if stored is None:
            return set()
        zones = decoded(stored, ClusterLoadAssignment()).endpoints
        return {each.endpoint.address.socket_address.port_value for zone in zones for each in zone.lb_endpoints}

    def clusters(self) -> set[str]:
        stored = self.ads.store.resources(CLUSTER)
        assert all(decoded(each, Cluster()).name == name for name, each in stored.items())
        return set(stored)

    def observed(self) -> set[str]:
        return {path.show() for path, _, _ in self.observatory.known()}


@asynccontextmanager
async def world(
    dtab: str = "/svc => /#/one",
    *,
    limits: Limits = LIMITS,
    settings: Settings = SETTINGS,
    more: Sequence[SourceEntry] = (),
) -> AsyncIterator[World]:
    one, two = Platform(), Platform()
    entries = [
        SourceEntry(Path(("#", label)), "memory", 1, platform, settings)
        for label, platform in (("one", one), ("two", two))
    ]
    events: list[Event] = []
    ads = Ads(Store(), report=events.append)
    clock = asyncio.get_running_loop().time
    async with Observatory([*entries, *more], lambda path, state: binder.on_state(path, state), linger=LINGER) as sky:
        publisher = Publisher(ads, sky.state, clock, LINGER)
        binder = Binder(
            dtab=parse_dtab(dtab),
            namers=[SourceNamer(entry.root, entry.segments) for entry in entries],
            options=Options(),
            limits=limits,
            observatory=sky,
            publisher=publisher,
            policies=publisher.policies,
            clock=clock,
        )
        yield World(one, two, sky, ads, events, publisher, binder)
