"""A platform in a process of its own, filled with services, that changes on command. For bench.discovery.

    python -m bench.stage KIND SERVICES ENDPOINTS

prints one JSON line, the settings of a source for it. Each line `SERVICE TURN` on its input adds an endpoint, of an
address told by TURN, to a service; the answer is when that began, on the clock of `time.monotonic`. It ends with its
input.

Consul is a real one. The others are the fakes of the tests: a real dockerd can't run 100,000 containers here.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import aiohttp

from scripts import consul
from tests.fakes import cloudmap, docker, ecs, kubernetes, marathon

F = TypeVar("F")
Key = tuple[str, int]
PORT = 8080
PODS = uuid.UUID(int=0)
_TRANSACTION = 64
"""Operations that Consul takes at once."""


class Stage(Protocol):
    settings: dict[str, object]

    async def put(self, service: int, keys: list[Key]) -> None:
        """From now on the service has exactly these endpoints; one of them may be new."""
        ...


def keys(service: int, endpoints: int) -> list[Key]:
    numbers = range(service * endpoints, (service + 1) * endpoints)
    return [(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", PORT) for n in numbers]


def extra(turn: int) -> Key:
    return f"10.250.{turn >> 8 & 255}.{turn & 255}", PORT


class Consul:
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http = url, http
        # One connection for each service; by default there are 80, which go round when there are more services.
        self.settings: dict[str, object] = {"kind": "consul", "address": url, "max_watches": 1_200}

    async def fill(self, services: int, endpoints: int) -> None:
        """Each instance on a host of its own, as in a fleet."""
        entries = [
            operation
            for service in range(services)
            for key in keys(service, endpoints)
            for operation in self._registered(service, key)
        ]
        for start in range(0, len(entries), _TRANSACTION):
            async with self._http.put(f"{self._url}/v1/txn", json=entries[start : start + _TRANSACTION]) as response:
                response.raise_for_status()

    async def put(self, service: int, keys: list[Key]) -> None:
        body = {"Node": f"host-{keys[-1][0]}", "Address": keys[-1][0], "Service": self._service(service, keys[-1])}
        async with self._http.put(f"{self._url}/v1/catalog/register", json=body) as response:
            response.raise_for_status()

    @staticmethod
    def _service(service: int, key: Key) -> dict[str, object]:
        return {"ID": f"s{service}-{key[0]}", "Service": f"s{service}", "Port": key[1]}

    def _registered(self, service: int, key: Key) -> list[dict[str, object]]:
        node = f"host-{key[0]}"
        made: dict[str, object] = {"Node": {"Verb": "set", "Node": {"Node": node, "Address": key[0]}}}
        return [made, {"Service": {"Verb": "set", "Node": node, "Service": self._service(service, key)}}]


class Docker:
    def __init__(self, served: docker.Served) -> None:
        self._fake = served.fake
        self.settings: dict[str, object] = {"kind": "docker", "address": served.url, "reach": "container"}

    async def put(self, service: int, keys: list[Key]) -> None:
        for address, port in keys[-1:]:
            self.run(service, address, port)

    def run(self, service: int, address: str, port: int) -> None:
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": f"s{service}"}
        name = f"s{service}-{address}"
        self._fake.run(docker.FakeContainer(name, labels, {"shop_default": address}, exposed=(port,)))


class Marathon:
    def __init__(self, fake: marathon.FakeMarathon) -> None:
        self._fake = fake
        self.settings: dict[str, object] = {"kind": "marathon", "addresses": [fake.urls[0]], "timeout": "60s"}

    async def put(self, service: int, keys: list[Key]) -> None:
        self._fake.apps.place(f"/s{service}", keys)


class Kubernetes:
    def __init__(self, fake: kubernetes.FakeKubernetes) -> None:
        self._fake = fake
        self.settings: dict[str, object] = {"kind": "kubernetes", "url": fake.url, "in_cluster": False}

    def make(self, service: int) -> None:
        self._fake.put_service("prod", f"s{service}", [{"name": "http", "port": 80}])

    async def put(self, service: int, keys: list[Key]) -> None:
        ports = [{"name": "http", "port": PORT, "protocol": "TCP"}]
        self._fake.put_slice("prod", f"s{service}", f"s{service}-x", [self._pod(address) for address, _ in keys], ports)

    @staticmethod
    def _pod(address: str) -> dict[str, object]:
        """All that a real endpoint says: it is read, and most of it is kept."""
        name = f"pod-{address.replace('.', '-')}"
        return {
            "addresses": [address],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": f"node-{address.rpartition('.')[0]}",
            "targetRef": {"kind": "Pod", "namespace": "prod", "name": name, "uid": str(uuid.uuid5(PODS, name))},
            "zone": f"eu-1{'abc'[len(name) % 3]}",
        }


class Ecs:
    def __init__(self, fake: ecs.FakeEcs) -> None:
        self._state = fake.state
        self.settings: dict[str, object] = {
            "kind": "ecs",
            "endpoint_url": fake.url,
            "region": "eu-west-1",
            # What a figure of reading needs; 5 a second is what AWS leaves to one reader.
            "calls_per_second": 1000,
        }

    async def put(self, service: int, keys: list[Key]) -> None:
        self._state.put("prod", f"s{service}", *keys)


class CloudMap:
    def __init__(self, fake: cloudmap.FakeCloudMap) -> None:
        self._fake = fake
        self.settings: dict[str, object] = {
            "kind": "cloudmap",
            "endpoint_url": fake.url,
            "region": "eu-west-1",
            "calls_per_second": 2000,
        }

    async def put(self, service: int, keys: list[Key]) -> None:
        self._fake.put("prod", f"s{service}", **cloudmap.instances(*keys))


class Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.settings: dict[str, object] = {"kind": "files", "folder": str(folder)}

    async def put(self, service: int, keys: list[Key]) -> None:
        fresh = self._folder / f".s{service}"
        fresh.write_text("".join(f"{address} {port}\n" for address, port in keys))
        fresh.rename(self._folder / f"s{service}")


async def _filled(stage: Stage, services: int, endpoints: int) -> None:
    for service in range(services):
        await stage.put(service, keys(service, endpoints))


@asynccontextmanager
async def _consul(services: int, endpoints: int) -> AsyncIterator[Stage]:
    limits = "limits { http_max_conns_per_client = 4000 }"
    async with consul.agent(log_level="err", hcl=limits) as running, aiohttp.ClientSession() as http:
        stage = Consul(running.url, http)
        await stage.fill(services, endpoints)
        yield stage


@asynccontextmanager
async def _docker(services: int, endpoints: int) -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        async with docker.fake_docker(Path(folder)) as served:
            stage = Docker(served)
            for service in range(services):
                for address, port in keys(service, endpoints):
                    stage.run(service, address, port)
            yield stage


@asynccontextmanager
async def _kubernetes(services: int, endpoints: int) -> AsyncIterator[Stage]:
    async with kubernetes.fake_kubernetes() as fake:
        stage = Kubernetes(fake)
        for service in range(services):
            stage.make(service)
        await _filled(stage, services, endpoints)
        yield stage


@asynccontextmanager
async def _files(services: int, endpoints: int) -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        stage = Files(Path(folder))
        await _filled(stage, services, endpoints)
        yield stage


@asynccontextmanager
async def _faked(
    opened: Callable[[], AbstractAsyncContextManager[F]], made: Callable[[F], Stage], services: int, endpoints: int
) -> AsyncIterator[Stage]:
    async with opened() as fake:
        stage = made(fake)
        await _filled(stage, services, endpoints)
        yield stage


STAGES: dict[str, Callable[[int, int], AbstractAsyncContextManager[Stage]]] = {
    "files": _files,
    "consul": _consul,
    "docker": _docker,
    "kubernetes": _kubernetes,
    "marathon": partial(_faked, marathon.fake_marathon, Marathon),
    "ecs": partial(_faked, ecs.fake_ecs, Ecs),
    "cloudmap": partial(_faked, cloudmap.fake_cloudmap, CloudMap),
}


async def main(kind: str, services: int, endpoints: int) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    added: dict[int, list[Key]] = {}
    async with STAGES[kind](services, endpoints) as stage:
        print(json.dumps(stage.settings), flush=True)
        while line := await reader.readline():
            service, turn = map(int, line.split())
            added.setdefault(service, keys(service, endpoints)).append(extra(turn))
            began = time.monotonic()
            await stage.put(service, added[service])
            print(began, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
