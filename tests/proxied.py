"""A real Envoy that takes its resources from our ADS server, and small HTTP services to reach through it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc.aio
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse

from discovery import path
from discovery.address import Endpoint, Protocol
from mesh.envoy import bootstrap, clusters, endpoints, listeners, routes
from mesh.naming.tree import BoundName, BoundTree, Leaf
from mesh.policy.settings import DEFAULTS, Settings
from mesh.xds.events import Event, Nack
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE, Resource, resource
from mesh.xds.server import SERVER_OPTIONS, Ads, listen
from mesh.xds.store import Store
from tests.envoy_process import EnvoyProcess, running

Change = tuple[str, Resource]
Resolve = Callable[[str], Awaitable[None]]


def name(text: str) -> path.Path:
    return path.Path.parse(f"/#/static/{text}")


def leaf(text: str) -> BoundTree:
    return Leaf(BoundName(name(text)))


def cluster(text: str, protocol: Protocol | None = None) -> Change:
    return CLUSTER, resource(name(text).show(), clusters.cluster(name(text), protocol))


def assignment(text: str, ports: Iterable[int]) -> Change:
    found = endpoints.assignment(name(text), [Endpoint("127.0.0.1", port) for port in ports])
    return ENDPOINTS, resource(name(text).show(), found)


def scope(router: str, key: str, tree: BoundTree, settings: Settings = DEFAULTS) -> Change:
    message = routes.scope(router, key, tree, settings)
    return SCOPE, resource(message.name, message)


def listener(router: str, port: int) -> Change:
    return LISTENER, resource(router, listeners.listener(listeners.Router(router, "127.0.0.1", port)))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(slots=True)
class Brain:
    """Our side of the socket: what the agent's brain is to Envoy, with the names bound by the test."""

    folder: Path
    store: Store = field(default_factory=Store)
    events: list[Event] = field(default_factory=list)
    resolve: Resolve | None = None
    ack_limit_seconds: float = 30
    ads: Ads = field(init=False)

    def __post_init__(self) -> None:
        self.ads = Ads(self.store, report=self.events.append, ack_limit_seconds=self.ack_limit_seconds)

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "ads.sock"

    @property
    def nacks(self) -> list[Nack]:
        return [event for event in self.events if isinstance(event, Nack)]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = grpc.aio.server(options=SERVER_OPTIONS)
        self.ads.add_to(server)
        method = grpc.stream_stream_rpc_method_handler(self._process, request_deserializer=ProcessingRequest.FromString)
        service = "envoy.service.ext_proc.v3.ExternalProcessor"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Process": method}),))
        listen(server, self.socket)
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)

    @contextlib.asynccontextmanager
    async def envoy(self, folder: str = "envoy") -> AsyncIterator[EnvoyProcess]:
        place = self.folder / folder
        place.mkdir()
        config = bootstrap.bootstrap(
            node_id=folder, node_cluster="test", ads_socket=self.socket, admin_socket=place / "admin.sock"
        )
        async with running(config, place) as process:
            yield process

    async def _process(self, requests: AsyncIterator[ProcessingRequest], context: object) -> AsyncIterator[bytes]:
        async for request in requests:
            headers = {header.key: header.raw_value.decode() for header in request.request_headers.headers.headers}
            answer = ProcessingResponse()
            if self.resolve is None:
                answer.immediate_response.status.code = 404
                answer.immediate_response.body = b"no such name"
            else:
                await self.resolve(headers[":authority"])
                answer.request_headers.SetInParent()
            yield answer.SerializeToString()


@dataclass(slots=True)
class Caller:
    """Makes requests to a router by name."""

    port: int
    http: aiohttp.ClientSession

    async def get(self, host: str, target: str = "/", **headers: str) -> Answer:
        url = f"http://127.0.0.1:{self.port}{target}"
        async with self.http.get(url, headers={"Host": host, **headers}) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.text())


@contextlib.asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as http:
        yield Caller(port, http)


@contextlib.asynccontextmanager
async def service(says: str) -> AsyncIterator[int]:
    """An HTTP/1.1 service that answers every request with `says`; yields its port."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(says)}\r\n\r\n{says}".encode())
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
