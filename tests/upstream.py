"""An HTTP service that answers as the test says, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(slots=True)
class Upstream:
    """`held`: requests wait until it is set free. `health`: what GET /health answers."""

    name: str
    port: int = 0
    status: int = 200
    health: int = 200
    asked: Counter[str] = field(default_factory=Counter)
    """By method; health checks apart."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of the last request, in small letters."""
    path: str = ""
    checked: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.free.set()

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/health":
            self.checked += 1
            return web.Response(status=self.health)
        self.asked[request.method] += 1
        self.path = request.raw_path
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        self.arrived.set()
        await self.free.wait()
        return web.Response(text=self.name, status=self.status)


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
