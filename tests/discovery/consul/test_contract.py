"""The contract with every fault, against the fake; `test_real_consul` has it against a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from discovery.consul.config import ConsulConfig
from discovery.path import Path
from tests.discovery.contract import Key, SourceContract, World
from tests.fakes.consul import FakeConsul, fake_consul, instance


class FakeWorld(World):
    def __init__(self, consul: FakeConsul) -> None:
        self.consul = consul

    def name(self, label: str) -> Path:
        return Path(("dc1", label))

    async def put(self, name: Path, *endpoints: Key) -> None:
        self.consul.put(name[-1], *self.instances(name, *endpoints), index=self.consul.next_index())

    async def remove(self, name: Path) -> None:
        await self.put(name)

    async def empty(self, name: Path) -> None:
        sick = instance("10.0.0.9", 80, status="critical", Tags=list(name[1:-1]))
        self.consul.put(name[-1], sick, index=self.consul.next_index())

    async def go_dark(self) -> None:
        await self.consul.stop()

    async def come_back(self) -> None:
        await self.consul.start()

    async def garble(self, name: Path) -> None:
        self.consul.garble(name[-1], b"<html>busy</html>")

    async def misconfigure(self) -> None:
        self.consul.status = 403

    async def halve(self, name: Path) -> None:
        self.consul.halve()

    async def stall(self) -> None:
        self.consul.hang()

    async def lose(self, name: Path, *endpoints: Key) -> None:
        self.consul.lose(name[-1], *self.instances(name, *endpoints))

    def instances(self, name: Path, *endpoints: Key) -> list[dict[str, object]]:
        return [instance(*key, Tags=list(name[1:-1])) for key in endpoints]


class TaggedWorld(FakeWorld):
    """All names are of one service, told apart by their tags."""

    def __init__(self, consul: FakeConsul) -> None:
        super().__init__(consul)
        self._known: dict[Path, list[dict[str, object]]] = {}

    def name(self, label: str) -> Path:
        return Path(("dc1", label, "web"))

    async def put(self, name: Path, *endpoints: Key) -> None:
        self._known[name] = self.instances(name, *endpoints)
        self._tell()

    async def empty(self, name: Path) -> None:
        self._known[name] = [instance("10.0.0.9", 80, status="critical", Tags=[name[1]])]
        self._tell()

    async def lose(self, name: Path, *endpoints: Key) -> None:
        self._known[name] = self.instances(name, *endpoints)
        self.consul.lose("web", *self._all())

    def _tell(self) -> None:
        self.consul.put("web", *self._all(), index=self.consul.next_index())

    def _all(self) -> list[dict[str, object]]:
        return [each for listed in self._known.values() for each in listed]


@pytest.mark.parametrize("include_tag", [False, True], ids=["by service", "by tag"])
class TestFakeConsulContract(SourceContract):
    @pytest.fixture(autouse=True)
    def _by_tag(self, include_tag: bool) -> None:
        self.by_tag = include_tag

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with fake_consul() as consul:
            world = TaggedWorld(consul) if self.by_tag else FakeWorld(consul)
            async with ConsulConfig(address=consul.url, include_tag=self.by_tag).open() as source:
                world.source = source
                yield world
