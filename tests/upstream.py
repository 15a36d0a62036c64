"""An HTTP service that answers as the test says, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Heard:
    path: str
    headers: dict[str, list[str]]
    """By name in lower case."""
    body: str


@dataclass(slots=True)
class Upstream:
    """`held`: requests wait until it is set free. `health`: what GET /health answers."""

    name: str
    port: int = 0
    status: int = 200
    health: int = 200
    asked: Counter[str] = field(default_factory=Counter)
    """By method; health checks apart."""
    heard: list[Heard] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    """Headers of its answers."""
    checked: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> str:
        """Of the last request."""
        return self.heard[-1].path if self.heard else ""

    @property
    def last_headers(self) -> dict[str, str]:
        """Of the last request, in small letters."""
        return {name: ",".join(values) for name, values in self.heard[-1].headers.items()}

    def __post_init__(self) -> None:
        self.free.set()

    def headers(self, name: str) -> list[str]:
        """What stood in this header, of the requests that had it."""
        return [value for each in self.heard for value in each.headers.get(name, ())]

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/health":
            self.checked += 1
            return web.Response(status=self.health)
        self.asked[request.method] += 1
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        self.heard.append(Heard(request.raw_path, headers, await request.text()))
        self.arrived.set()
        await self.free.wait()
        return web.Response(text=self.name, status=self.status, headers=self.answers)


@asynccontextmanager
async def upstream(name: str) -> AsyncIterator[Upstream]:
    it = Upstream(name)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", it.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        it.port = runner.addresses[0][1]
        yield it
    finally:
        it.free.set()
        await runner.cleanup()
