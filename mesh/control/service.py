"""The control plane's life: opens the store and the sources, wires the parts, serves, and ends all of it together.

The sockets are opened when every answer can be given, be it that nothing is known yet. Ready: the store has answered
once. A replica that loses its store afterwards goes on with what it knows, and says so.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import random
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, contextmanager

import aiohttp
import uvloop
from aiohttp import web

from discovery.address import State
from discovery.observatory import Observatory, SourceEntry
from discovery.path import Path
from discovery.remote.frames import Hello
from discovery.remote.offers import offered
from discovery.source import SourceError
from mesh.agent import collector
from mesh.agent.asking import Asking
from mesh.agent.entries import inet, namers, opened
from mesh.agent.log import configure
from mesh.agent.notify import notify
from mesh.config.certificates import BadCertificate
from mesh.control.access import Access
from mesh.control.api.agents import AgentRoutes
from mesh.control.api.binding import Binder
from mesh.control.api.explain import ExplainRoutes
from mesh.control.api.health import DocumentRoutes, HealthRoutes
from mesh.control.api.in_force import InForce
from mesh.control.api.namerd_dtabs import NamerdTables
from mesh.control.api.namerd_names import NamerdNames
from mesh.control.api.namespaces import NamespaceRoutes
from mesh.control.api.openapi import document
from mesh.control.api.route import AnyRoute
from mesh.control.api.serving import CALLER, Serving
from mesh.control.api.sources import SourceRoutes
from mesh.control.api.watching import Watching
from mesh.control.api.writing import Writing
from mesh.control.audit import Audit
from mesh.control.config import ControlConfig
from mesh.control.explaining import Explaining
from mesh.control.gathering import Gathering
from mesh.control.hub import Hub
from mesh.control.journal import Bounds, Journal
from mesh.control.judging import Judging
from mesh.control.listening import Tls, Unbindable, listening
from mesh.control.previewing import Previewing
from mesh.control.recall import Recall
from mesh.control.reporting import Reporting
from mesh.control.seen import Seen
from mesh.control.store.protocol import Store, StoreError
from mesh.control.stream import Streams
from mesh.control.tables import Tables
from mesh.control.vitals import VERSION, Vitals
from mesh.naming.bind import Options

logger = logging.getLogger("tieline.control")

EXPLAIN_MARGIN_SECONDS = 0.5
CLOSING_SECONDS = 0.3
"""For agents to take leave, and for changes under way to come to their end."""


class Unstartable(Exception):
    """The text says why and what to do."""


class Control:
    """The parts, wired. Nothing runs here: `serve` does that."""

    def __init__(
        self, config: ControlConfig, store: Store, entries: list[SourceEntry], session: aiohttp.ClientSession
    ) -> None:
        naming, every = config.naming, [*entries, *inet(config.naming.bind_timeout)]
        self._config = config
        self.listens: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """The port, once it is open; None: only the socket is."""
        self.replica = f"{socket.gethostname()}:{config.listen.port}" if config.listen.port else socket.gethostname()
        self.tables = Tables(store)
        self.in_force = InForce(self.tables)
        self.observatory = Observatory(every, self._on_state)
        self.asking = Asking(self.observatory, naming.bind_timeout + EXPLAIN_MARGIN_SECONDS)
        self.hub = Hub(self.observatory, offered(entries), self.tables)
        self.seen = Seen(time.time)
        self.reporting = Reporting(self.seen, self.replica)
        self.streams = Streams(
            self.hub, self.reporting, version=VERSION("tieline"), replica=self.replica, admits=_admits
        )
        self.journal = Journal(
            config.state_dir / "journal.sqlite", self._known, Bounds(config.journal.age, config.journal.size)
        )
        self.recall = Recall(config.state_dir / "names.json", self.seen)
        self.access = Access(config.tokens_file, strangers_read=config.lets_strangers_read)
        self.audit = Audit(config.state_dir)
        self.watching = Watching()
        self.tls = None if config.listen.tls is None else Tls(config.listen.tls)
        options = Options(alternate_on=frozenset(naming.alternate_on), max_depth=naming.max_depth)
        gathering = Gathering(self.seen, self.reporting.process, config.replicas, session)
        self.judging = Judging(gathering, Previewing(self.asking, options), self.observatory, entries, namers(every))
        self.binder = Binder(self.in_force, self.asking, namers(every), options)
        self.explaining = Explaining(self.asking, self.in_force, store, self.seen, self.journal, namers(every), options)
        self.vitals = self._vitals()
        self.routes = self._routes(store, entries)

    def _vitals(self) -> Vitals:
        return Vitals(
            self._config.kept_in.kind,
            self.replica,
            tables=self.tables,
            in_force=self.in_force,
            streams=self.streams,
            watching=self.watching,
            judging=self.judging,
            journal=self.journal,
            recall=self.recall,
            access=self.access,
            audit=self.audit,
            tls=self.tls,
        )

    def _routes(self, store: Store, entries: list[SourceEntry]) -> list[AnyRoute]:
        writing = Writing(self.in_force, self.judging, self._config.preview.limit)
        roots = tuple(each.root for each in entries)
        groups = (
            NamespaceRoutes(writing, store),
            ExplainRoutes(self.explaining),
            AgentRoutes(self.reporting, self.streams.agents),
            SourceRoutes(self.observatory, entries),
            NamerdTables(writing, self.watching),
            NamerdNames(self.binder, self.watching, self.observatory, roots, random.Random()),  # noqa: S311 - a choice
            HealthRoutes(self.vitals, self.audit),
            DocumentRoutes(lambda: document(self.routes, VERSION("tieline"))),
        )
        return [route for group in groups for route in group.routes()]

    def _on_state(self, path: Path, state: State) -> None:
        self.hub.changed(path, state)
        self.asking.on_state(path)
        self.journal.observed(path, state)

    def _known(self) -> Iterator[tuple[Path, State]]:
        return ((name, state) for name, state, _ in self.observatory.known())

    async def serve(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises Unbindable."""
        async with asyncio.TaskGroup() as tasks:
            serving = Serving(self.routes, self.access, self.audit, tasks)
            keeping = [tasks.create_task(each) for each in self._keeps()]
            try:
                async with listening(serving.application(), self._config, self.tls) as port:
                    self.listens.set_result(port)
                    logger.info("listening", extra={"fields": {"port": port, "socket": self._config.socket}})
                    keeping.append(tasks.create_task(self._become_ready()))
                    await stop.wait()
                    notify("STOPPING=1")
                    self.watching.end()
                    await self._take_leave()
                    await serving.end(CLOSING_SECONDS)
            finally:
                for task in keeping:
                    task.cancel()

    def _keeps(self) -> Iterator[Coroutine[object, object, None]]:
        self.tables.subscribe(self.journal.versioned)
        yield from (self.tables.keep(), self.hub.keep(), self.in_force.wait())
        yield from (self.journal.keep(), self.recall.keep())
        if self.tls is not None:
            yield self.tls.keep()

    async def _become_ready(self) -> None:
        await self.tables.ready()
        logger.info("ready", extra={"fields": {"namespaces": len(self.tables.all())}})
        notify("READY=1")

    async def _take_leave(self) -> None:
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await self.streams.close()
        except TimeoutError:
            logger.info("some agents have not taken leave in time")


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


def _not_read_again() -> None:
    logger.warning("the configuration is not read again; restart the control plane: agents don't notice")


def _admits(request: web.Request, hello: Hello) -> str | None:
    caller = request[CALLER]
    if caller.may_have(hello.namespace):
        return None
    return f"{caller.name} may not have the namespace {hello.namespace!r}; its entry in the tokens_file says which"


async def run(config: ControlConfig) -> None:
    """Raises Unstartable."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _not_read_again)
    try:
        async with AsyncExitStack() as stack:
            kept: AbstractAsyncContextManager[Store] = config.kept_in.open()
            store = await stack.enter_async_context(kept)
            entries = [await opened(stack, each, config.naming.bind_timeout) for each in config.sources]
            session = await stack.enter_async_context(aiohttp.ClientSession())
            control = Control(config, store, entries, session)
            await stack.enter_async_context(control.observatory)
            await control.serve(stop)
    except* (StoreError, SourceError, BadCertificate, Unbindable) as failed:
        raise Unstartable("; ".join(map(str, _leaves(failed)))) from failed


@contextmanager
def _alone(config: ControlConfig) -> Iterator[None]:
    """The only control plane in its folders. Raises Unstartable."""
    with ExitStack() as stack:
        for folder in dict.fromkeys((config.run_dir, config.state_dir)):
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = stack.enter_context((folder / "control.lock").open("w"))
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise Unstartable(f"{error.filename}: {reason}. Choose another folder") from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                text = f"another control plane runs in {folder}; end it, or give this one folders of its own"
                raise Unstartable(text) from error
        yield


def main(config: ControlConfig) -> int:
    configure(config.log.level, config.log.format)
    try:
        with _alone(config):
            collector.at_leisure()
            uvloop.run(run(config))
    except Unstartable as error:
        print(error, file=sys.stderr)
        return 1
    logger.info("stopped")
    return 0
