"""What a real Consul can't be made to answer: indexes that jump, half bodies, errors, silence.

Knows `/v1/health/service/<service>` only, with its blocking queries. Whatever else is asked fails the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

PREFIX = "/v1/health/service/"


def instance(address: str, port: int, *, status: str = "passing", **service: object) -> dict[str, object]:
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
    _was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, service: str, *instances: object, index: int | None = None) -> None:
        self.garble(service, json.dumps(instances).encode(), index)

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

    async def answer(self, request: web.BaseRequest) -> web.Response:
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
        body = self._bodies.get(service, b"[]")
        return web.Response(status=self.status, body=body, headers={**index, **self.headers})


@asynccontextmanager
async def fake_consul() -> AsyncIterator[FakeConsul]:
    fake = FakeConsul()
    server = web.Server(fake.answer)
    runner = web.ServerRunner(server, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()
    assert not fake.unexpected, fake.unexpected
