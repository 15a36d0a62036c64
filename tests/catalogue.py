"""A Consul that a test writes to, and the configuration of a host that asks Consul first and its files second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from scripts.consul import Agent
from tests.fakes.consul import FakeConsul


@dataclass(frozen=True, slots=True)
class Catalogue:
    consul: Agent

    async def register(self, service: str, port: int, **more: object) -> None:
        entry = {"Name": service, "ID": f"{service}-{port}", "Address": "127.0.0.1", "Port": port, **more}
        await self._put("/v1/agent/service/register", entry)

    async def deregister(self, service: str, port: int) -> None:
        await self._put(f"/v1/agent/service/deregister/{service}-{port}")

    async def maintain(self, service: str, port: int, *, on: bool) -> None:
        """An instance in maintenance is registered, and critical."""
        await self._put(f"/v1/agent/service/maintenance/{service}-{port}?enable={str(on).lower()}")

    async def _put(self, path: str, body: object = None) -> None:
        headers = {"X-Consul-Token": self.consul.token} if self.consul.token else {}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.put(self.consul.url + path, json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()


def sources(url: str, **consul: object) -> list[dict[str, object]]:
    """Waits are short, so that a Consul that says nothing is noticed soon."""
    asked = {
        "kind": "consul",
        "address": url,
        "wait": "1s",
        "timeout": "1s",
        "confirm_after": "1s",
        "last_resort": 0,
        **consul,
    }
    return [asked, {"kind": "files", "folder": "disco", "confirm_after": "200ms", "last_resort": 0}]


@asynccontextmanager
async def fake_at(port: int) -> AsyncIterator[FakeConsul]:
    """A fake where a host that runs already asks for its Consul."""
    fake = FakeConsul(url=f"http://127.0.0.1:{port}")
    runner = web.ServerRunner(web.Server(fake.answer), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield fake
    finally:
        await runner.cleanup()
    assert not fake.unexpected, fake.unexpected
