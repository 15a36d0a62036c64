from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from discovery.address import Addr, Bound, Endpoint, bound
from discovery.path import Path
from discovery.static.config import StaticConfig
from discovery.static.source import StaticSource
from tests.discovery.contract import Key, SourceContract, World, watching


class _Written(World):
    def __init__(self) -> None:
        self._names: dict[str, Addr] = {}
        self.source = StaticSource(self._names)

    async def put(self, name: Path, *endpoints: Key) -> None:
        self._names[name[0]] = bound(Endpoint(*key) for key in endpoints)

    async def empty(self, name: Path) -> None:
        self._names[name[0]] = Bound()


class TestStaticContract(SourceContract):
    lacks = frozenset({"change", "remove", "go_dark", "garble", "misconfigure", "halve", "stall", "lose", "origin"})

    def open_world(self) -> AbstractAsyncContextManager[World]:
        return _world()


@asynccontextmanager
async def _world() -> AsyncIterator[World]:
    yield _Written()


async def test_what_the_configuration_lists_is_published() -> None:
    config = StaticConfig.model_validate({"names": {"users": ["10.0.0.2:80 * 2", "[::1]:81"], "orders": []}})
    async with config.open() as source:
        async with watching(source, Path(("users",))) as watch:
            await watch.sees(("10.0.0.2", 80), ("::1", 81))
            assert watch.latest == bound([Endpoint("10.0.0.2", 80, weight=2), Endpoint("::1", 81)])
        async with watching(source, Path(("orders",))) as watch:
            await watch.sees()
