"""What a real Consul can't be made to answer: indexes that jump, half bodies, errors, silence.

Knows `/v1/health/service/<service>` with its blocking queries, `/v1/catalog/services` and `/v1/catalog/datacenters`.
Whatever else is asked fails the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PREFIX = "/v1/health/service/"


def instance(address: str, port: int, *, status: str = "passing", **service: object) -> dict[str, Any]:
    return {
        "Node": {"Node": f"node-{address}", "Address": "192.0.2.1", "Meta": None, "TaggedAddresses": None},
        "Service": {"ID": f"{address}:{port}", "Address": address, "Port": port, **service},
        "Checks": [{"CheckID": "service:1", "Status": status}],
    }


@dataclass(slots=True)
class Asked:
    service: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    at: float


@dataclass(slots=True)
class FakeConsul:
    url: str = ""
    index: str | None = "10"
    """What `X-Consul-Index` says; None leaves it out."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    blocks: bool = True
    asked: list[Asked] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    _bodies: dict[str, bytes] = field(default_factory=lambda: {"consul": json.dumps([instance("", 8300)]).encode()})
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _hangs: bool = False
    _halves: bool = False
    _tags: dict[str, set[str]] = field(default_factory=lambda: {"consul": set()})
    _late: asyncio.Event | None = None
    _runner: web.ServerRunner | None = None
    _was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, service: str, *instances: dict[str, Any], index: int | None = None) -> None:
        self.lose(service, *instances)
        self.garble(service, self._bodies[service], index)

    def lose(self, service: str, *instances: dict[str, Any]) -> None:
        """As `put`, and nobody who waits is told."""
        self._bodies[service] = json.dumps(instances).encode()
        self._tags.pop(service, None)
        if instances:
            self._tags[service] = {tag for instance in instances for tag in instance["Service"].get("Tags") or ()}

    def garble(self, service: str, body: bytes, index: int | None = None) -> None:
        self._bodies[service] = body
        if index is not None:
            self.index = str(index)
        self.wake()

    def wake(self) -> None:
        """Every blocking query is answered now, whatever its index."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def has_been_asked(self, times: int) -> None:
        async with asyncio.timeout(10):
            while len(self.asked) < times:
                self._was_asked.clear()
                await self._was_asked.wait()

    def hang(self) -> None:
        self._hangs = True

    def halve(self) -> None:
        self._halves = True

    def heal(self) -> None:
        """Answers are whole and 200 again. Bodies that were garbled stay so until they are put."""
        self.status, self._halves = 200, False

    @contextmanager
    def late_reads(self) -> Iterator[asyncio.Event]:
        """Plain reads are answered with what was true when they were asked, once the event is set."""
        self._late = asyncio.Event()
        yield self._late
        self._late = None

    def next_index(self) -> int:
        return int(self.index or "0") + 1

    async def start(self) -> None:
        """On the same port, where it has been before."""
        self._runner = web.ServerRunner(web.Server(self.answer), shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", int(self.url.rpartition(":")[2] or 0)).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path in ("/v1/catalog/services", "/v1/catalog/datacenters"):
            listed = {name: sorted(tags) for name, tags in self._tags.items()}
            return web.json_response(listed if request.path.endswith("services") else ["dc1"])
        if request.method != "GET" or not request.path.startswith(PREFIX):
            self.unexpected.append(f"{request.method} {request.path_qs}")
            return web.Response(status=501)
        service, loop = request.path.removeprefix(PREFIX), asyncio.get_running_loop()
        self.asked.append(Asked(service, dict(request.query), dict(request.headers), loop.time()))
        self._was_asked.set()
        if self._hangs:
            await loop.create_future()
        if self.blocks and self.index is not None and int(request.query.get("index", "0")) >= int(self.index):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), int(request.query["wait"].removesuffix("ms")) / 1000)
        index = {} if self.index is None else {"X-Consul-Index": self.index}
        body, status = self._bodies.get(service, b"[]"), self.status
        if self._late is not None and "index" not in request.query:
            await self._late.wait()
        if self._halves:
            return await self._half(request, body)
        return web.Response(status=status, body=body, headers={**index, **self.headers})

    async def _half(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body)), "X-Consul-Index": "10"})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()
        return response


@asynccontextmanager
async def fake_consul() -> AsyncIterator[FakeConsul]:
    fake = FakeConsul()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
    assert not fake.unexpected, fake.unexpected
