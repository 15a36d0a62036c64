"""The brain's composition root: builds every part from the configuration, runs them, and ends them together.

Order matters twice. What the disk remembers is bound before Envoy may ask, so that a restarted brain withdraws nothing.
And the sockets are opened last, when every answer can be given.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path as File

import grpc.aio
import uvloop

from discovery.address import Known, State
from discovery.dns.inet import INET, RINET, InetSource, RinetSource
from discovery.dns.resolver import Resolver as DnsResolver
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.settings import SourceConfig
from mesh.admin.server import serving
from mesh.agent import resolver as resolving
from mesh.agent.adoption import scopes
from mesh.agent.binder import Binder, Limits
from mesh.agent.brain_process import HEARTBEAT_SECONDS, PIPE_VARIABLE
from mesh.agent.explainer import Explainer
from mesh.agent.facts import BrainFacts
from mesh.agent.idle import Idle
from mesh.agent.log import configure
from mesh.agent.nacks import Nacks
from mesh.agent.names import Key
from mesh.agent.publisher import Publisher
from mesh.agent.refusal import unidentified
from mesh.agent.resolver import Resolver
from mesh.agent.routers import Identified, Router
from mesh.agent.snapshot import Snapshot
from mesh.config.load import load
from mesh.config.model import Config
from mesh.config.problem import ConfigError
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME, empty_cluster
from mesh.envoy.listeners import Router as Listener
from mesh.envoy.listeners import listener
from mesh.envoy.names import parse_scope, scope_resource
from mesh.envoy.routes import direct
from mesh.naming.bind import Options
from mesh.naming.namers import SourceNamer
from mesh.xds.events import Event, Nack
from mesh.xds.resource import CLUSTER, LISTENER, SCOPE, resource
from mesh.xds.server import SERVER_OPTIONS, Ads, listen
from mesh.xds.store import Store

logger = logging.getLogger("tieline.brain")

# Past the bind timeout nothing is pending; what remains is Envoy's own time to take the clusters.
PATIENCE_MARGIN_SECONDS = 2.0
EXPLAIN_MARGIN_SECONDS = 0.5
CONNECT_PAUSE_SECONDS = 0.01
NOBODY = "."
"""A key that identifies nothing: `Host: .` is refused."""
THIS_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on


class Brain:
    """The parts, wired. Nothing runs before `run`."""

    def __init__(
        self, config: Config, entries: Sequence[SourceEntry], observations: Mapping[Path, Known], snapshot: Snapshot
    ) -> None:
        self.config, self.entries, self.snapshot = config, entries, snapshot
        self.envoy_admin = config.run_dir / "envoy.sock"
        self.ready = False
        self.ads = Ads(Store(), report=self._on_event)
        self.routers = {each.name: Router(each.name, each.dst_prefix) for each in config.routers}
        self.observatory = Observatory(entries, self._on_state, restored=observations, linger=config.names.linger)
        self.publisher = Publisher(self.ads, self.observatory.state, time.monotonic, config.names.linger)
        self.binder = self._binder()
        self.nacks = Nacks(self.binder, self.ads)
        bind_timeout = config.naming.bind_timeout
        self.resolver = Resolver(self.binder, self.ads, self.routers, bind_timeout + PATIENCE_MARGIN_SECONDS)
        self.explainer = Explainer(self.binder, self.observatory, self.routers, bind_timeout + EXPLAIN_MARGIN_SECONDS)
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
            namers=[SourceNamer(entry.root, entry.segments) for entry in self.entries if entry.root[0] == "#"],
            options=Options(alternate_on=frozenset(naming.alternate_on), max_depth=naming.max_depth),
            limits=Limits(names.limit, names.negative_limit),
            observatory=self.observatory,
            publisher=self.publisher,
            clock=time.monotonic,
        )
        binder.on_wanted = self.snapshot.observed
        binder.on_names_changed = lambda name, kept: self.snapshot.named(name.id, kept=kept)
        return binder

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Nack) and event.culprits:
            self.nacks.refused(event)

    @property
    def _resolver_timeout(self) -> timedelta:
        """Longer than the resolver's own patience: the brain, not Envoy, is to say why a name is not bound in time."""
        return timedelta(seconds=self.config.naming.bind_timeout + 2 * PATIENCE_MARGIN_SECONDS)

    def _on_state(self, path: Path, state: State) -> None:
        self.binder.on_state(path, state)
        self.explainer.on_state()

    def adopt(self, scopes: Iterable[str]) -> None:
        """Envoy has scopes from an earlier brain. Those that the disk didn't tell of are names in use, too."""
        self.ads.store.assumed = {SCOPE: frozenset(scopes)}
        for key in map(parse_scope, scopes):
            if key is not None and key[1] != NOBODY:
                self._remember(key, adopted=True)

    def _remember(self, key: Key, *, adopted: bool = False, kept: bool = False) -> None:
        router = self.routers.get(key[0])
        identified = router.identify({":authority": key[1]}) if router else None
        if isinstance(identified, Identified):
            self.binder.ask(key, identified.path, adopted=adopted, kept=kept)

    def restore(self, names: Iterable[Key]) -> None:
        for key in names:
            self._remember(key, kept=True)

    def publish_listeners(self) -> None:
        put = [(CLUSTER, resource(EMPTY_CLUSTER_NAME, empty_cluster()))]
        for each in self.config.routers:
            message = listener(Listener(each.name, each.address, each.port, self._resolver_timeout))
            put.append((LISTENER, resource(each.name, message)))
            # Envoy takes an empty collection for one that has not come yet, and its listener would wait for it.
            nobody = unidentified("the Host header is no host name")
            scope = direct(each.name, NOBODY, nobody.status, nobody.body, nobody.err)
            put.append((SCOPE, resource(scope_resource(each.name, NOBODY), scope)))
        self.ads.apply(put=put)


async def run(config: Config, pipe: int | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    snapshot = Snapshot(config.state_dir / "snapshot.sqlite")
    restored = snapshot.load(time.time())
    async with AsyncExitStack() as stack:
        entries = [await _open(stack, each, config.naming.bind_timeout) for each in config.sources]
        brain = Brain(config, [*entries, *_inet(config.naming.bind_timeout)], restored.observations, snapshot)
        await stack.enter_async_context(brain.observatory)
        brain.publish_listeners()
        brain.adopt(await scopes(brain.envoy_admin))
        brain.restore(restored.names)
        logger.info("the brain runs", extra={"fields": {"names_restored": len(restored.names)}})
        await _serve(stack, brain, pipe, stop)


async def _serve(stack: AsyncExitStack, brain: Brain, pipe: int | None, stop: asyncio.Event) -> None:
    admin = brain.config.admin
    async with asyncio.TaskGroup() as tasks:
        keeping = [tasks.create_task(brain.snapshot.keep()), tasks.create_task(brain.idle.keep())]
        await stack.enter_async_context(_serving_envoy(brain))
        facts = BrainFacts(brain)
        await stack.enter_async_context(serving(facts, brain.config.admin_socket, admin.address, admin.port))
        keeping.append(tasks.create_task(_become_ready(brain, pipe)))
        if pipe is not None:
            keeping.append(tasks.create_task(_beat(pipe)))
        await stop.wait()
        for task in keeping:
            task.cancel()


async def _open(stack: AsyncExitStack, source: SourceConfig, bind_timeout: float) -> SourceEntry:
    settings = Settings(resync=source.resync, confirm_after=source.confirm_after, bind_timeout=bind_timeout)
    opened = await stack.enter_async_context(source.open())
    return SourceEntry(source.root, source.kind, source.name_segments, opened, settings)


def _inet(bind_timeout: float) -> list[SourceEntry]:
    """`/$/inet` and its like are sources that are always there. A literal address needs no reading again."""
    resolve, settings = DnsResolver().resolve, Settings(resync=0.0, bind_timeout=bind_timeout)
    return [
        SourceEntry(INET, "inet", 2, InetSource(resolve), settings, fewest=1),
        SourceEntry(RINET, "rinet", 2, RinetSource(resolve), settings),
    ]


@asynccontextmanager
async def _serving_envoy(brain: Brain) -> AsyncIterator[None]:
    socket = brain.config.run_dir / "xds.sock"
    socket.unlink(missing_ok=True)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    brain.ads.add_to(server)
    server.add_generic_rpc_handlers((resolving.handler(brain.resolver),))
    listen(server, socket)
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace=0)
        socket.unlink(missing_ok=True)


async def _beat(pipe: int) -> None:
    """A brain that hangs says nothing, and the supervisor starts another."""
    while True:
        os.write(pipe, b"alive\n")
        await asyncio.sleep(HEARTBEAT_SECONDS)


async def _become_ready(brain: Brain, pipe: int | None) -> None:
    """Ready: an Envoy has acknowledged its configuration and takes connections on every router's port."""
    for router in brain.config.routers:
        if await brain.ads.applied(LISTENER, router.name) is not None:
            logger.error(
                "a router can't be served; free its port or change it, then reload",
                extra={"fields": {"router": router.name}},
            )
            return
        await brain.ads.applied(SCOPE, scope_resource(router.name, NOBODY))
        while not await _takes_connections(router.address, router.port):  # noqa: ASYNC110 - another process's port
            await asyncio.sleep(CONNECT_PAUSE_SECONDS)
    brain.ready = True
    logger.info("ready")
    if pipe is not None:
        os.write(pipe, b"ready\n")


async def _takes_connections(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(THIS_HOST.get(address, address), port)
    except OSError:
        return False
    writer.close()
    return True


def main() -> None:
    try:
        config = load(File(sys.argv[1]))
    except ConfigError as error:
        sys.exit(str(error))
    configure(config.log.level, config.log.format)
    # What is imported lives as long as we do. A name in use is a few dozen objects; at the default of 700 the collector
    # would run all the time while names are bound.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    pipe = os.environ.get(PIPE_VARIABLE)
    uvloop.run(run(config, int(pipe) if pipe else None))


if __name__ == "__main__":
    main()
