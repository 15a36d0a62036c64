"""The brain's parts and how they are wired: from the configuration and the open sources to names served to Envoy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from discovery.address import State
from discovery.observatory import Observatory, SourceEntry
from discovery.path import Path
from discovery.remote.offers import beside
from mesh.agent import seeing
from mesh.agent.binder import Binder, Limits
from mesh.agent.counted import Counted
from mesh.agent.delegating import Tables, is_for_a_table
from mesh.agent.edge import edge
from mesh.agent.entries import namers
from mesh.agent.explainer import Explainer
from mesh.agent.idle import Idle
from mesh.agent.in_force import InForce
from mesh.agent.nacks import Nacks
from mesh.agent.names import Key
from mesh.agent.propagation import Propagation
from mesh.agent.publisher import Publisher
from mesh.agent.publishing import Both
from mesh.agent.rebinding import Rebinding
from mesh.agent.refusal import hidden, unidentified
from mesh.agent.resolver import Resolver
from mesh.agent.routers import Identified, Router
from mesh.agent.secrets import Secrets
from mesh.agent.snapshot import Snapshot
from mesh.agent.snapshot_file import Restored
from mesh.agent.sni_resolver import SniResolver
from mesh.agent.stream_routers import StreamRouter
from mesh.agent.streams import StreamPublisher
from mesh.agent.table import Own, Table
from mesh.agent.tls import named_secrets, server_tls
from mesh.config.material import Named
from mesh.config.model import Config
from mesh.config.routers import Router as RouterSection
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME, empty_cluster
from mesh.envoy.listeners import Router as Listener
from mesh.envoy.listeners import listener
from mesh.envoy.names import parse_scope, parse_stream, scope_resource
from mesh.envoy.routes import direct
from mesh.envoy.streams import Stream
from mesh.envoy.tracing import COLLECTOR, collector_cluster
from mesh.naming.bind import Options
from mesh.policy.effective import Policies
from mesh.xds.events import Event, Nack
from mesh.xds.resource import CLUSTER, LISTENER, SCOPE, resource
from mesh.xds.server import Ads
from mesh.xds.store import Store

# Past the bind timeout nothing is pending; what remains is Envoy's own time to take the clusters.
PATIENCE_MARGIN_SECONDS = 2.0
EXPLAIN_MARGIN_SECONDS = 0.5
# A cluster that nobody needs any more is withdrawn after its linger time, and what it did with its certificates ends.
SECRET_MARGIN_SECONDS = 60.0
NOBODY = "."
"""A key that identifies nothing: `Host: .` is refused."""


class Lasting(Protocol):
    async def keep(self) -> None:
        """For as long as there is a brain."""


class Brain:
    """Nothing runs here: `mesh.agent.brain` does that."""

    def __init__(
        self, config: Config, entries: Sequence[SourceEntry], restored: Restored, snapshot: Snapshot, own: Own
    ) -> None:
        self.config, self.snapshot = config, snapshot
        self.entries = self._own_entries = tuple(entries)
        self.envoy_admin = config.run_dir / "envoy.sock"
        self.ready = self._mounted = False
        self.control_status: Callable[[], dict[str, object] | None] = lambda: None
        self.on_change: Callable[[], None] = lambda: None
        """Something of what the agent tells of itself may have changed."""
        self.ads = Ads(Store(), report=self._on_event)
        self.routers = {
            each.name: Router(
                each.name, each.dst_prefix, each.identifiers, tables(each), each.tells_errors, each.upgrades
            )
            for each in config.routers
            if each.protocol == "http"
        }
        self.stream_routers = {
            each.name: StreamRouter(Stream(each.name, each.address, each.port), each.dst_prefix, each.destination)
            for each in config.routers
            if each.protocol != "http"
        }
        self.observatory = Observatory(
            entries, self._on_state, restored=restored.observations, linger=config.names.linger
        )
        self.in_force = self._in_force(own, restored)
        self.policies = Policies([each.entry for each in self.in_force.table.policies])
        self.counted = Counted(config.metrics.names)
        requests = Publisher(
            self.ads,
            self.observatory.state,
            time.monotonic,
            config.names.linger,
            self.policies,
            config.zone,
            accepting=frozenset(name for name, router in self.routers.items() if router.tables.accepted),
            counted=self.counted,
            hiding=frozenset(each.name for each in config.routers if not each.tells_errors),
            table=lambda: self.in_force.table.version if config.access_log.path else "",
        )
        self.streams = StreamPublisher(
            self.ads,
            self.observatory.state,
            time.monotonic,
            config.names.linger,
            self.policies,
            self.stream_routers,
            self._resolver_timeout,
            config.zone,
        )
        self.publisher = Both(requests, self.streams, frozenset(self.stream_routers))
        self.secrets = Secrets(self.ads, time.monotonic, config.names.linger + SECRET_MARGIN_SECONDS)
        self.propagation = Propagation(self.ads, [each.root for each in entries], self._root, time.monotonic)
        self.binder = self._binder()
        self.binder.unheard = config.control is not None
        self.rebinding = Rebinding(self.binder, self.in_force.bound)
        self.nacks = Nacks(self.binder, self.ads, self.policies)
        bind_timeout = config.naming.bind_timeout
        self.resolver = Resolver(self.binder, self.ads, self.routers, bind_timeout + PATIENCE_MARGIN_SECONDS)
        self.sni_resolver = SniResolver(self.resolver, self.stream_routers)
        explained = {each.name: self._router(each.name) for each in config.routers}
        self.explainer = Explainer(
            self.binder, self.observatory, explained, self.policies, bind_timeout + EXPLAIN_MARGIN_SECONDS
        )
        self.idle = Idle(
            binder=self.binder,
            publisher=self.publisher,
            ads=self.ads,
            admin=self.envoy_admin,
            clock=time.monotonic,
            idle_seconds=config.names.idle,
            refused_seconds=config.names.negative,
        )
        self.lasting: list[Lasting] = [self.snapshot, self.idle, self.secrets, self.in_force, self.rebinding]

    def _binder(self) -> Binder:
        naming, names = self.config.naming, self.config.names
        binder = Binder(
            dtab=self.in_force.table.dtab,
            namers=namers(self.entries),
            options=Options(alternate_on=frozenset(naming.alternate_on), max_depth=naming.max_depth),
            limits=Limits(names.limit, names.negative_limit),
            observatory=self.observatory,
            publisher=self.publisher,
            policies=self.policies,
            clock=time.monotonic,
        )
        binder.on_wanted = self._on_wanted
        binder.on_names_changed = lambda name, kept: self.snapshot.named(name.id, kept=kept, grpc=name.grpc)
        return binder

    def serves(self) -> bool:
        """It was ready once, and an Envoy is connected that has its listeners."""
        types = (each for stream in self.ads.status() for each in stream.types)
        return self.ready and any(each.type_url == LISTENER and each.held for each in types)

    def _in_force(self, own: Own, restored: Restored) -> InForce:
        control, table = self.config.control, restored.fleet.table
        mine = control is not None and table is not None and table.namespace == control.namespace
        in_force = InForce(
            own, table if mine else None, proxies=self.ads, remember=self.snapshot.table, files=self._files
        )
        in_force.apply, in_force.changed = self._bind_by, lambda: self.on_change()
        return in_force

    def _files(self, table: Table) -> Mapping[str, Named]:
        return named_secrets(self.config.routers, table.policies)

    def _bind_by(self, table: Table) -> None:
        """From now on this one binds: first calls at once, names in use one after the other."""
        self.secrets.need(self._files(table))
        says_else = self.policies.replace([each.entry for each in table.policies])
        self.binder.dtab = table.dtab
        # An access log tells the table's version, of each name.
        self._bind_anew(spares=not (says_else or self.config.access_log.path))

    @property
    def own_sources(self) -> tuple[SourceEntry, ...]:
        """Those of this agent's configuration."""
        return tuple(entry for entry in self._own_entries if entry.root[0] == "#")

    def mount(self, entries: Iterable[SourceEntry]) -> list[SourceEntry]:
        """The control plane's sources, from now on. Returns those that are not asked: sources of our own have names of
        theirs."""
        apart, hidden = beside(entries, [each.root for each in self._own_entries])
        self.entries = (*apart, *self._own_entries)
        self.propagation.measure(each.root for each in self.entries)
        self.binder.namers = namers(self.entries)
        self._mounted = True
        self.observatory.mount(apart)
        self._bind_anew()
        return hidden

    def _bind_anew(self, *, spares: bool = False) -> None:
        """Once a control plane has said both, ever, what they say holds. `spares`: names that the table can't touch."""
        before, self.binder.unheard = self.binder.unheard, not self._mounted or self.in_force.table.fleet is None
        (self.rebinding.touched if spares and self.binder.unheard == before else self.rebinding.all)()

    def _on_event(self, event: Event) -> None:
        self.propagation.on_event(event)
        if isinstance(event, Nack) and event.culprits:
            self.nacks.refused(event)
        self.in_force.acknowledged()
        self.on_change()

    @property
    def _resolver_timeout(self) -> timedelta:
        """Longer than the resolver's own patience: the brain, not Envoy, is to say why a name is not bound in time."""
        return timedelta(seconds=self.config.naming.bind_timeout + 2 * PATIENCE_MARGIN_SECONDS)

    def _on_state(self, path: Path, state: State) -> None:
        with self.propagation.measured(path):
            self.binder.on_state(path, state)
        self.explainer.on_state()
        self.on_change()

    def _on_wanted(self, path: Path, state: State | None) -> None:
        self.snapshot.observed(path, state)
        self.propagation.wanted(path, state)

    def _root(self, path: Path) -> Path | None:
        entry = self.observatory.entry(path)
        return entry.root if entry else None

    def _router(self, name: str) -> Router | StreamRouter:
        return self.routers.get(name) or self.stream_routers[name]

    def adopt(self, scopes: Iterable[str], streams: Iterable[str]) -> None:
        """Envoy has scopes, and clusters of TCP and TLS routers, from an earlier brain. Those that the disk didn't tell
        of are names in use, too."""
        self.ads.store.assumed = {SCOPE: frozenset(scopes)}
        for key in map(parse_scope, scopes):
            if key is not None and key[1] != NOBODY and not is_for_a_table(key[1]):
                self._remember(key, adopted=True)
        for key in map(parse_stream, streams):
            if key is not None:
                self._remember(key, adopted=True)

    def _remember(self, key: Key, *, adopted: bool = False, kept: bool = False, grpc: bool = False) -> None:
        router = self.routers.get(key[0]) or self.stream_routers.get(key[0])
        identified = router.adopt(key[1]) if router else None
        if not router or not isinstance(identified, Identified):
            return
        fixed = isinstance(router, StreamRouter) and router.to is not None
        name = self.binder.ask(
            key, identified.path, consumed=identified.consumed, adopted=adopted, kept=kept, fixed=fixed
        )
        if name is not None and name.adopted and router.name in self.stream_routers:
            self.streams.adopt(name)
        if grpc and name is not None:
            self.binder.take_grpc(name)

    def restore(self, names: Mapping[Key, bool]) -> None:
        for key, grpc in names.items():
            self._remember(key, kept=True, grpc=grpc)
        # What a TCP router leads to is in use from the start.
        for router in self.stream_routers.values():
            if router.to is not None:
                self._remember((router.name, router.to.show()))

    def publish_listeners(self) -> None:
        self.secrets.need(self._files(self.in_force.table))
        put = [(CLUSTER, resource(EMPTY_CLUSTER_NAME, empty_cluster()))]
        if (tracing := seeing.tracing(self.config)) is not None:
            put.append((CLUSTER, resource(COLLECTOR, collector_cluster(tracing.collector))))
        for each in self.config.routers:
            if each.name in self.stream_routers:
                continue
            place = each.name, each.address, each.port
            form, sight = self.routers[each.name].form, seeing.sight(self.config, each)
            tls, strangers = server_tls(each), edge(each)
            message = listener(Listener(*place, self._resolver_timeout, form, sight, tls, strangers))
            put.append((LISTENER, resource(each.name, message)))
            # Its acknowledgement says that this router's scopes have come, also where no name is in use yet.
            nobody = unidentified("the Host header is no host name")
            nobody = nobody if each.tells_errors else hidden(nobody)
            scope = direct(each.name, NOBODY, nobody.status, nobody.body, nobody.err)
            put.append((SCOPE, resource(scope_resource(each.name, NOBODY), scope)))
        self.ads.apply(put=put)
        self.streams.open()


def tables(router: RouterSection) -> Tables:
    """Reads the key. Raises OSError."""
    file = router.overrides_key_file
    return Tables(router.accepts != "off", file.read_bytes() if file else None)
