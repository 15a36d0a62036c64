"""The brain's parts and how they are wired: from the configuration and the open sources to names served to Envoy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from discovery.address import Known, State
from discovery.observatory import Observatory, SourceEntry
from discovery.path import Path
from mesh.agent.binder import Binder, Limits
from mesh.agent.edge import edge
from mesh.agent.explainer import Explainer
from mesh.agent.idle import Idle
from mesh.agent.nacks import Nacks
from mesh.agent.names import Key
from mesh.agent.propagation import Propagation
from mesh.agent.publisher import Publisher
from mesh.agent.refusal import unidentified
from mesh.agent.resolver import Resolver
from mesh.agent.routers import Identified, Router
from mesh.agent.secrets import Secrets
from mesh.agent.snapshot import Snapshot
from mesh.agent.tls import named_secrets, server_tls
from mesh.config.model import Config
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME, empty_cluster
from mesh.envoy.listeners import Router as Listener
from mesh.envoy.listeners import listener
from mesh.envoy.names import parse_scope, scope_resource
from mesh.envoy.routes import direct
from mesh.naming.bind import Options
from mesh.naming.namers import source_namer
from mesh.policy.effective import Policies
from mesh.xds.events import Event, Nack
from mesh.xds.resource import CLUSTER, LISTENER, SCOPE, resource
from mesh.xds.server import Ads
from mesh.xds.store import Store

# Past the bind timeout nothing is pending; what remains is Envoy's own time to take the clusters.
PATIENCE_MARGIN_SECONDS = 2.0
EXPLAIN_MARGIN_SECONDS = 0.5
NOBODY = "."
"""A key that identifies nothing: `Host: .` is refused."""


class Brain:
    """Nothing runs here: `mesh.agent.brain` does that."""

    def __init__(
        self, config: Config, entries: Sequence[SourceEntry], observations: Mapping[Path, Known], snapshot: Snapshot
    ) -> None:
        self.config, self.entries, self.snapshot = config, entries, snapshot
        self.envoy_admin = config.run_dir / "envoy.sock"
        self.ready = False
        self.ads = Ads(Store(), report=self._on_event)
        self.routers = {each.name: Router(each.name, each.dst_prefix, each.identifiers) for each in config.routers}
        self.observatory = Observatory(entries, self._on_state, restored=observations, linger=config.names.linger)
        self.policies = Policies([each.entry for each in config.policies])
        self.publisher = Publisher(
            self.ads, self.observatory.state, time.monotonic, config.names.linger, self.policies, config.zone
        )
        self.secrets = Secrets(self.ads, named_secrets(config))
        self.propagation = Propagation(self.ads, [each.root for each in entries], self._root, time.monotonic)
        self.binder = self._binder()
        self.nacks = Nacks(self.binder, self.ads)
        bind_timeout = config.naming.bind_timeout
        self.resolver = Resolver(self.binder, self.ads, self.routers, bind_timeout + PATIENCE_MARGIN_SECONDS)
        self.explainer = Explainer(
            self.binder, self.observatory, self.routers, self.policies, bind_timeout + EXPLAIN_MARGIN_SECONDS
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

    def _binder(self) -> Binder:
        naming, names = self.config.naming, self.config.names
        binder = Binder(
            dtab=self.config.dtab,
            namers=[
                source_namer(entry.root, entry.segments, entry.fewest or entry.segments, longest=entry.longest)
                for entry in self.entries
                if entry.root[0] == "#"
            ],
            options=Options(alternate_on=frozenset(naming.alternate_on), max_depth=naming.max_depth),
            limits=Limits(names.limit, names.negative_limit),
            observatory=self.observatory,
            publisher=self.publisher,
            clock=time.monotonic,
        )
        binder.on_wanted = self._on_wanted
        binder.on_names_changed = lambda name, kept: self.snapshot.named(name.id, kept=kept, grpc=name.grpc)
        return binder

    def _on_event(self, event: Event) -> None:
        self.propagation.on_event(event)
        if isinstance(event, Nack) and event.culprits:
            self.nacks.refused(event)

    @property
    def _resolver_timeout(self) -> timedelta:
        """Longer than the resolver's own patience: the brain, not Envoy, is to say why a name is not bound in time."""
        return timedelta(seconds=self.config.naming.bind_timeout + 2 * PATIENCE_MARGIN_SECONDS)

    def _on_state(self, path: Path, state: State) -> None:
        with self.propagation.measured(path):
            self.binder.on_state(path, state)
        self.explainer.on_state()

    def _on_wanted(self, path: Path, state: State | None) -> None:
        self.snapshot.observed(path, state)
        self.propagation.wanted(path, state)

    def _root(self, path: Path) -> Path | None:
        entry = self.observatory.entry(path)
        return entry.root if entry else None

    def adopt(self, scopes: Iterable[str]) -> None:
        """Envoy has scopes from an earlier brain. Those that the disk didn't tell of are names in use, too."""
        self.ads.store.assumed = {SCOPE: frozenset(scopes)}
        for key in map(parse_scope, scopes):
            if key is not None and key[1] != NOBODY:
                self._remember(key, adopted=True)

    def _remember(self, key: Key, *, adopted: bool = False, kept: bool = False, grpc: bool = False) -> None:
        router = self.routers.get(key[0])
        identified = router.adopt(key[1]) if router else None
        if isinstance(identified, Identified):
            name = self.binder.ask(key, identified.path, consumed=identified.consumed, adopted=adopted, kept=kept)
            if grpc and name is not None:
                self.binder.take_grpc(name)

    def restore(self, names: Mapping[Key, bool]) -> None:
        for key, grpc in names.items():
            self._remember(key, kept=True, grpc=grpc)

    def publish_listeners(self) -> None:
        self.secrets.load()
        put = [(CLUSTER, resource(EMPTY_CLUSTER_NAME, empty_cluster()))]
        for each in self.config.routers:
            form = self.routers[each.name].form
            tls = server_tls(each)
            place = each.name, each.address, each.port
            message = listener(Listener(*place, self._resolver_timeout, form, tls, edge(each)))
            put.append((LISTENER, resource(each.name, message)))
            # Its acknowledgement says that this router's scopes have come, also where no name is in use yet.
            nobody = unidentified("the Host header is no host name")
            scope = direct(each.name, NOBODY, nobody.status, nobody.body, nobody.err)
            put.append((SCOPE, resource(scope_resource(each.name, NOBODY), scope)))
        self.ads.apply(put=put)
