"""Both ends of the agents' stream on loopback, with everything real between them, and a wire that can be cut."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from discovery.address import Known, State
from discovery.backoff import Backoff
from discovery.observatory import Observatory, SourceEntry
from discovery.path import Path
from discovery.remote.dialling import Dialling, Pace
from discovery.remote.frames import Hello, Sources, Table
from discovery.remote.link import Link
from discovery.remote.offers import mounted, offered
from mesh.control.hub import Hub
from mesh.control.stream import Limits, Streams
from mesh.control.version import Content, Version

PATIENCE_SECONDS = 20.0
QUICK = Pace(grace=0.05, status=0.05, settled=0.5, backoff=Backoff(first=0.02, most=0.2))


class Bell:
    """Rung whenever something has changed, for who waits for a condition."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def ring(self) -> None:
        for event in self._waiting:
            event.set()

    async def until(self, condition: Callable[[], object]) -> None:
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    event.clear()
                    await event.wait()
        finally:
            self._waiting.discard(event)


class Kept:
    """Tables in memory."""

    def __init__(self) -> None:
        self.held: str | None = None
        self.unreadable: dict[str, str] = {}
        self.known = asyncio.Event()
        self.known.set()
        self._versions: dict[str, Version] = {}
        self._subscribed: list[Callable[[Version], None]] = []

    def get(self, namespace: str) -> Version | None:
        return self._versions.get(namespace)

    async def ready(self) -> None:
        await self.known.wait()

    def subscribe(self, changed: Callable[[Version], None]) -> Callable[[], None]:
        self._subscribed.append(changed)
        return lambda: self._subscribed.remove(changed)

    def put(self, dtab: str | None, namespace: str = "default", number: int | None = None) -> None:
        before = self._versions.get(namespace)
        number = number or (before.number if before else 0) + 1
        content = None if dtab is None else Content(dtab)
        version = self._versions[namespace] = Version(namespace, number, 1.0, "ann", "", content)
        for changed in self._subscribed:
            changed(version)


@dataclass
class Heard:
    """What agents said of themselves."""

    bell: Bell
    said: list[tuple[str, str, object]] = field(default_factory=list)

    def joined(self, agent: str, hello: Hello, address: str) -> None:
        self._note("joined", agent, hello)

    def reported(self, agent: str, report: Mapping[str, object]) -> None:
        self._note("reported", agent, report)

    def left(self, agent: str) -> None:
        self._note("left", agent, None)

    def of(self, what: str) -> list[object]:
        return [detail for said, _, detail in self.said if said == what]

    def _note(self, what: str, agent: str, detail: object) -> None:
        self.said.append((what, agent, detail))
        self.bell.ring()


@dataclass
class Control:
    url: str
    port: int
    observatory: Observatory
    hub: Hub
    streams: Streams
    tables: Kept
    heard: Heard
    bell: Bell


@asynccontextmanager
async def control(
    entries: Sequence[SourceEntry],
    *,
    limits: Limits | None = None,
    tables: Kept | None = None,
    admits: Callable[[web.Request, Hello], str | None] = lambda _request, _hello: None,
    most_names: int = 20_000,
    replica: str = "control-1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Control]:
    bell = Bell()
    kept, heard = tables or Kept(), Heard(bell)
    async with AsyncExitStack() as stack:
        observatory = await stack.enter_async_context(
            Observatory(entries, lambda name, state: hub.changed(name, state), linger=0.0)
        )
        hub = Hub(observatory, offered(entries), kept, most_names=most_names)
        streams = Streams(hub, heard, version="0.1.0", replica=replica, admits=admits, limits=limits)
        application = web.Application()
        application.router.add_get("/v1/agent", streams.agents)
        runner = web.AppRunner(application)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(hub.keep())
            scheme = "https" if tls else "http"
            yield Control(f"{scheme}://127.0.0.1:{port}/v1/agent", port, observatory, hub, streams, kept, heard, bell)
            await streams.close()
            keeping.cancel()


@dataclass
class Agent:
    observatory: Observatory
    link: Link
    bell: Bell
    tables: list[Table] = field(default_factory=list)
    offers: list[Sources] = field(default_factory=list)
    changes: list[tuple[Path, State]] = field(default_factory=list)

    def state(self, name: str) -> State:
        return self.observatory.state(Path.parse(name))

    def want(self, name: str) -> None:
        self.observatory.want(Path.parse(name))

    async def knows(self, name: str, held: bool = False) -> Known:
        """When it does."""

        def known() -> bool:
            state = self.state(name)
            return isinstance(state, Known) and (state.held is not None) == held

        await self.bell.until(known)
        state = self.state(name)
        assert isinstance(state, Known)
        return state


@asynccontextmanager
async def agent(
    *urls: str,
    name: str = "host7",
    namespace: str = "default",
    pace: Pace = QUICK,
    token: Callable[[], str | None] = lambda: None,
    tls: ssl.SSLContext | bool = True,
    restored: Mapping[Path, Known] | None = None,
    bind_timeout: float = 2.0,
) -> AsyncIterator[Agent]:
    bell = Bell()

    def on_change(path: Path, state: State) -> None:
        it.changes.append((path, state))
        bell.ring()

    def hello() -> Hello:
        bell.ring()
        table = it.tables[-1].version if it.tables else None
        return Hello(name, namespace, "0.1.0", table, it.offers[-1].hash if it.offers else None)

    def on_table(table: Table) -> None:
        it.tables.append(table)
        bell.ring()

    def on_sources(sources: Sources) -> None:
        it.offers.append(sources)
        observatory.mount(mounted(sources, link.source, bind_timeout))
        bell.ring()

    async with (
        aiohttp.ClientSession() as session,
        Observatory([], on_change, restored=restored, linger=0.0) as observatory,
    ):
        link = Link(
            urls,
            Dialling(session, token, lambda: tls),
            hello=hello,
            on_table=on_table,
            on_sources=on_sources,
            on_standing=lambda _: bell.ring(),
            rng=random.Random(1),
            pace=pace,
        )
        it = Agent(observatory, link, bell)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(link.run())
            yield it
            running.cancel()


class Wire:
    """Relays TCP. It can be cut, and it can swallow what is said while the connection stays."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[_End] = set()
        self.is_cut = False
        self.swallows = False
        self.carried = 0
        """Bytes, both ways."""

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """Yields the URL of its end."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _End(self, None), "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/agent"
        finally:
            server.close()
            self.cut()
            await server.wait_closed()

    def cut(self) -> None:
        self.is_cut = True
        for end in list(self._ends):
            end.abort()

    def mend(self) -> None:
        self.is_cut = self.swallows = False

    def joined(self, end: _End) -> None:
        self._ends.add(end)

    def left(self, end: _End) -> None:
        self._ends.discard(end)

    async def reach(self, near: _End) -> _End:
        _, far = await asyncio.get_running_loop().create_connection(lambda: _End(self, near), "127.0.0.1", self._port)
        return far


class _End(asyncio.Protocol):
    def __init__(self, wire: Wire, other: _End | None) -> None:
        self._wire = wire
        self._other = other
        self._is_near = other is None
        self._early: list[bytes] = []
        self._reaching: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._wire.joined(self)
        if self._wire.is_cut:
            transport.abort()
        elif self._is_near:
            self._reaching = asyncio.get_running_loop().create_task(self._reach())

    async def _reach(self) -> None:
        self._other = await self._wire.reach(self)
        for data in self._early:
            self._other.write(data)

    def data_received(self, data: bytes) -> None:
        if self._wire.swallows:
            return
        self._wire.carried += len(data)
        if self._other is None:
            self._early.append(data)
        else:
            self._other.write(data)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        if self._other is not None and self._other._transport is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and self._other._transport is not None:
            self._other._transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.left(self)
        if self._other is not None and self._other._transport is not None and not self._wire.swallows:
            self._other._transport.close()
