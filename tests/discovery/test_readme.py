"""The example of `discovery/README.md` is a source that fulfils the contract."""

from __future__ import annotations

import pathlib
import re
import types
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

import discovery
from discovery.path import Path
from tests.discovery.contract import Key, SourceContract, World

README = pathlib.Path(discovery.__file__).with_name("README.md")


def example() -> types.ModuleType:
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    module = types.ModuleType("example")
    exec(compile(code, str(README), "exec", dont_inherit=True), vars(module))  # noqa: S102 - that is what is tested
    return module


class _Registry(World):
    def __init__(self) -> None:
        self._answers: dict[str, str] = {}
        self._status: int | None = None

    async def answer(self, request: web.Request) -> web.Response:
        if self._status is not None:
            return web.Response(status=self._status)
        found = self._answers.get(request.path.removeprefix("/"))
        return web.Response(status=404) if found is None else web.Response(text=found)

    async def put(self, name: Path, *endpoints: Key) -> None:
        self._answers[name[0]] = " ".join(f"{address}:{port}" for address, port in endpoints)

    async def remove(self, name: Path) -> None:
        del self._answers[name[0]]

    async def empty(self, name: Path) -> None:
        self._answers[name[0]] = ""

    async def go_dark(self) -> None:
        self._status = 500

    async def come_back(self) -> None:
        self._status = None

    async def garble(self, name: Path) -> None:
        self._answers[name[0]] = "10.0.0.1:8080 <html>"

    async def misconfigure(self) -> None:
        self._status = 403


@asynccontextmanager
async def _world() -> AsyncIterator[World]:
    world = _Registry()
    app = web.Application()
    app.router.add_get("/{name}", world.answer)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TestServer(app))
        config = example().RegistryConfig(url=str(server.make_url("/")), every=0.01)
        world.source = await stack.enter_async_context(config.open())
        yield world


class TestExampleContract(SourceContract):
    lacks = frozenset({"halve", "stall", "lose", "origin"})

    def open_world(self) -> AbstractAsyncContextManager[World]:
        return _world()
