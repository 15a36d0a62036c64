"""The contract against the fake, and what a real dockerd can't be made to do. `test_real_dockerd.py` has the rest."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import docker
import pytest

from discovery.address import Bound, Health, Protocol
from discovery.docker.config import DockerConfig
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable
from tests.discovery.contract import ONE, TWO, Key, SourceContract, World, watching
from tests.fakes.docker import FakeContainer, FakeDocker, Served, fake_docker

WEB = Path(("-", "web"))


def replica(service: Path, key: Key, **more: str) -> FakeContainer:
    labels = {"tieline.service": "/".join(service), "tieline.port": str(key[1]), **more}
    return FakeContainer(f"{service[1]}-{key[0]}-{key[1]}", labels, networks={"bridge": key[0]})


class DockerWorld(World):
    def __init__(self, served: Served) -> None:
        self.served = served
        self._known: dict[Path, set[Key]] = {}

    @property
    def fake(self) -> FakeDocker:
        return self.served.fake

    def name(self, label: str) -> Path:
        return Path(("shop", label))

    async def put(self, name: Path, *endpoints: Key) -> None:
        for key in set(endpoints) - self._known.get(name, set()):
            self.fake.run(replica(name, key))
        for address, port in self._known.get(name, set()) - set(endpoints):
            self.fake.remove(f"{name[1]}-{address}-{port}")
        self._known[name] = set(endpoints)

    async def remove(self, name: Path) -> None:
        await self.put(name)

    async def empty(self, name: Path) -> None:
        container = replica(name, ONE)
        container.state = "exited"
        self.fake.containers[container.id] = container

    async def go_dark(self) -> None:
        await self.served.go_dark()

    async def come_back(self) -> None:
        await self.served.come_back()

    async def garble(self, name: Path) -> None:
        self.fake.garbage = b'[{"Id": "1", "Names": ["/web"], "State": "running", "Status": 3}]'

    async def halve(self, name: Path) -> None:
        self.fake.breaks_off = True

    async def misconfigure(self) -> None:
        self.fake.status = 403

    async def stall(self) -> None:
        self.fake.stalls = True

    async def lose(self, name: Path, *endpoints: Key) -> None:
        self.fake.silent = True
        await self.put(name, *endpoints)
        self.fake.silent = False


@asynccontextmanager
async def world(*, podman: bool = False, tcp: bool = False) -> AsyncIterator[DockerWorld]:
    with tempfile.TemporaryDirectory() as folder:
        async with fake_docker(FilePath(folder), podman=podman, tcp=tcp) as served:
            made = DockerWorld(served)
            async with DockerConfig(address=served.url, reach="container").open() as source:
                made.source = source
                yield made


class TestDockerContract(SourceContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with world() as made:
            yield made


class TestPodmanContract(SourceContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with world(podman=True) as made:
            yield made


class TestContractOverTcp(SourceContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with world(tcp=True) as made:
            yield made
