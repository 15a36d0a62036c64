"""The examples of `discovery/README.md` are sources that fulfil the contract."""

from __future__ import annotations

import asyncio
import pathlib
import re
import types
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

import discovery
from discovery.path import Path
from discovery.shared import Shared, Told
from discovery.source import Misconfigured, Unavailable
from tests.discovery.contract import Key, SourceContract, World

README = pathlib.Path(discovery.__file__).with_name("README.md")


def example() -> types.ModuleType:
    module = types.ModuleType("example")
    # What the second example, which is a part of a module, would import.
    vars(module).update(asyncio=asyncio, Iterable=Iterable, Told=Told)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        exec(compile(code, str(README), "exec", dont_inherit=True), vars(module))  # noqa: S102 - what is tested
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
    lacks = frozenset({"halve", "stall", "lose"})

    def open_world(self) -> AbstractAsyncContextManager[World]:
        return _world()


class _Told(_Registry):
    """The same platform with one list and one stream, in memory: what is tested is what the page says of `Feed`."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: list[asyncio.Queue[str | None]] = []

    def feed(self) -> object:
        world = self

        class Feed(example().RegistryFeed):  # type: ignore[misc]
            async def _read_all(self) -> dict[str, str]:
                world.check()
                return dict(world._answers)

            async def _hear(self, told: Told) -> None:
                events: asyncio.Queue[str | None] = asyncio.Queue()
                world._streams.append(events)
                try:
                    while (name := await events.get()) is not None:
                        self._known = {**self._known, **world.of(name)}
                        if name not in world._answers:
                            self._known.pop(name, None)
                        told.changed(name)
                    raise Unavailable("the stream broke off")
                finally:
                    world._streams.remove(events)

        return Feed(None)

    def check(self) -> None:
        if self._status == 403:
            raise Misconfigured("the registry refuses our token")
        if self._status is not None:
            raise Unavailable("the registry can't be asked")

    def of(self, name: str) -> dict[str, str]:
        return {name: self._answers[name]} if name in self._answers else {}

    def _tell(self, name: str | None) -> None:
        for stream in self._streams:
            stream.put_nowait(name)

    async def put(self, name: Path, *endpoints: Key) -> None:
        await super().put(name, *endpoints)
        self._tell(name[0])

    async def remove(self, name: Path) -> None:
        await super().remove(name)
        self._tell(name[0])

    async def empty(self, name: Path) -> None:
        await super().empty(name)
        self._tell(name[0])

    async def go_dark(self) -> None:
        await super().go_dark()
        self._tell(None)

    async def lose(self, name: Path, *endpoints: Key) -> None:
        await super().put(name, *endpoints)


@asynccontextmanager
async def _shared_world() -> AsyncIterator[World]:
    world = _Told()
    async with Shared(world.feed()) as source:  # type: ignore[arg-type]
        world.source = source
        yield world


class TestSharedExampleContract(SourceContract):
    lacks = frozenset({"halve", "stall"})

    def open_world(self) -> AbstractAsyncContextManager[World]:
        return _shared_world()
