"""The platforms of the scenarios, one entry each in PLATFORMS: what is true there, and the faults it can be given.

Each is a fake that speaks the wire, in the test's own loop, ruled as in the contract (`tests.discovery.contract`).
All instances are on 127.0.0.1 and told apart by their ports.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path as FilePath
from typing import Any, ClassVar

from discovery.path import Path
from tests.discovery.cloudmap.test_source import FakeWorld as CloudMapWorld
from tests.discovery.consul.test_contract import FakeWorld as ConsulWorld
from tests.discovery.contract import Key, World
from tests.discovery.docker.test_source import DockerWorld
from tests.discovery.ecs.test_source import EcsWorld
from tests.discovery.kubernetes.test_source import KubernetesWorld
from tests.discovery.marathon.test_source import MarathonWorld
from tests.fakes.cloudmap import fake_cloudmap, refusal
from tests.fakes.consul import fake_consul
from tests.fakes.docker import fake_docker
from tests.fakes.ecs import FakeEcs, fake_ecs
from tests.fakes.kubernetes import fake_kubernetes
from tests.fakes.marathon import Faults, fake_marathon

QUICK: dict[str, object] = {"resync": "1s", "confirm_after": "500ms"}
AWS: dict[str, object] = {"region": "eu-west-1", "calls_per_second": 1000, "timeout": "1s"}


class Platform(World):
    kind: ClassVar[str]
    settings: dict[str, object]
    """Its entry in `sources:`."""

    def id(self, label: str) -> str:
        """The bound name."""
        return f"/#/{self.kind}{self.name(label).show()}"

    @property
    def root(self) -> str:
        return self.id("x").removesuffix("/x")

    async def serve(self, label: str, *ports: int) -> None:
        """From now on these are its instances."""
        await self.put(self.name(label), *_keys(ports))

    async def serve_untold(self, label: str, *ports: int) -> None:
        """The same, and the event is lost."""
        await self.lose(self.name(label), *_keys(ports))

    async def forget(self, label: str) -> None:
        """There is no such name any more."""
        await self.remove(self.name(label))

    async def refuse(self, status: int) -> None:
        """500: the platform is broken. 403: it does not know us."""
        raise NotImplementedError

    async def deny_all(self) -> None:
        """Its answers are valid, and in them there is nothing."""
        raise NotImplementedError

    async def heal(self) -> None:
        """It tells the truth again."""
        raise NotImplementedError


def _keys(ports: tuple[int, ...]) -> list[Key]:
    return [("127.0.0.1", port) for port in ports]


class Consul(Platform, ConsulWorld):
    kind = "consul"

    def __init__(self, fake: Any) -> None:
        super().__init__(fake)
        self.settings = {"kind": "consul", "address": fake.url, "wait": "1s", "timeout": "1s", **QUICK}
        self._truth: dict[Path, tuple[Key, ...]] = {}

    async def put(self, name: Path, *endpoints: Key) -> None:
        self._truth[name] = endpoints
        await super().put(name, *endpoints)

    async def lose(self, name: Path, *endpoints: Key) -> None:
        self._truth[name] = endpoints
        await super().lose(name, *endpoints)

    async def refuse(self, status: int) -> None:
        self.consul.status = status
        self.consul.wake()

    async def halve(self, name: Path) -> None:
        await super().halve(name)
        self.consul.wake()

    async def deny_all(self) -> None:
        for name in self._truth:
            self.consul.put(name[-1], index=self.consul.next_index())

    async def heal(self) -> None:
        self.consul.heal()
        for name, endpoints in self._truth.items():
            await self.put(name, *endpoints)


class Docker(Platform, DockerWorld):
    kind = "docker"

    def __init__(self, served: Any) -> None:
        super().__init__(served)
        self.settings = {"kind": "docker", "address": served.url, "reach": "container", "timeout": "1s", **QUICK}

    async def refuse(self, status: int) -> None:
        self.fake.status = status

    async def deny_all(self) -> None:
        self.fake.garbage = b"[]"

    async def heal(self) -> None:
        self.fake.status, self.fake.garbage, self.fake.breaks_off = 200, None, False


class Marathon(Platform, MarathonWorld):
    kind = "marathon"

    def __init__(self, fake: Any) -> None:
        super().__init__(fake)
        self.settings = {
            "kind": "marathon",
            "addresses": list(fake.urls),
            "timeout": "1s",
            "idle_timeout": "1s",
            **QUICK,
        }

    def name(self, label: str) -> Path:
        return Path(("shop", label))

    async def refuse(self, status: int) -> None:
        self.fake.faults.status = status

    async def deny_all(self) -> None:
        self.fake.faults.body["/v2/apps"] = b'{"apps":[]}'

    async def heal(self) -> None:
        self.fake.faults = Faults()


class Kubernetes(Platform, KubernetesWorld):
    kind = "kubernetes"

    def __init__(self, fake: Any) -> None:
        super().__init__(fake)
        self.settings = {"kind": "kubernetes", "url": fake.url, "in_cluster": False, "timeout": "1s", **QUICK}
        self._aside: list[tuple[str, str, str, dict[str, Any]]] = []

    async def refuse(self, status: int) -> None:
        self.fake.refuse(status)
        self.fake.cut_watch()

    async def garble(self, name: Path) -> None:
        self.fake.garble()

    async def halve(self, name: Path) -> None:
        self.fake.halve()
        self.fake.cut_watch()

    async def deny_all(self) -> None:
        """Told by a list: events would tell of one slice after the other."""
        shelves = self.fake.store.shelves
        self.fake.silent = True
        for resource in ("endpointslices", "services"):
            for namespace, name in list(shelves[resource].records):
                self._aside.append((resource, namespace, name, shelves[resource].records[namespace, name].body))
                self.fake.delete(resource, namespace, name)
        self.fake.silent = False
        self.fake.expire()

    async def heal(self) -> None:
        self.fake.heal()
        for entry in self._aside:
            self.fake.put(*entry)
        self._aside.clear()


class Ecs(Platform, EcsWorld):
    kind = "ecs"

    def __init__(self, fake: FakeEcs) -> None:
        super().__init__(fake, source=None)  # type: ignore[arg-type]
        pace = {"poll_min": "50ms", "poll_max": "200ms"}
        self.settings = {"kind": "ecs", "endpoint_url": fake.url, **AWS, **pace, **QUICK}
        self._aside: tuple[dict[str, Any], dict[str, Any]] | None = None
        fake.state.cluster("prod")

    async def refuse(self, status: int) -> None:
        self.fake.fault = {500: "error", 403: "denied"}[status]

    async def deny_all(self) -> None:
        cluster = self.fake.state.cluster("prod")
        self._aside = cluster.services, cluster.tasks
        cluster.services, cluster.tasks = {}, {}

    async def heal(self) -> None:
        self.fake.fault = ""
        if self._aside is not None:
            cluster = self.fake.state.cluster("prod")
            cluster.services, cluster.tasks = self._aside
            self._aside = None


class CloudMap(Platform, CloudMapWorld):
    kind = "cloudmap"

    def __init__(self, fake: Any) -> None:
        super().__init__(fake)
        pace = {"every": "50ms", "health_every": "1s"}
        self.settings = {"kind": "cloudmap", "endpoint_url": fake.url, **AWS, **pace, **QUICK}
        self._aside: dict[Any, dict[str, dict[str, object]]] = {}

    async def refuse(self, status: int) -> None:
        self.fake.refusal = {
            500: refusal(500, "InternalFailure"),
            403: refusal(400, "AccessDeniedException", "not authorized to perform"),
        }[status]

    async def deny_all(self) -> None:
        self._aside = dict(self.fake.services)
        for service in self._aside:
            self.fake.put(*service)

    async def heal(self) -> None:
        self.fake.heal()
        for service, instances in self._aside.items():
            self.fake.put(*service, **instances)
        self._aside = {}


@asynccontextmanager
async def _consul() -> AsyncIterator[Platform]:
    async with fake_consul() as fake:
        yield Consul(fake)


@asynccontextmanager
async def _docker() -> AsyncIterator[Platform]:
    with tempfile.TemporaryDirectory() as folder:
        async with fake_docker(FilePath(folder)) as served:
            yield Docker(served)


@asynccontextmanager
async def _kubernetes() -> AsyncIterator[Platform]:
    async with fake_kubernetes() as fake:
        yield Kubernetes(fake)


@asynccontextmanager
async def _marathon() -> AsyncIterator[Platform]:
    async with fake_marathon(masters=2, heartbeat=0.2) as fake:
        yield Marathon(fake)


@asynccontextmanager
async def _ecs() -> AsyncIterator[Platform]:
    async with fake_ecs() as fake:
        yield Ecs(fake)


@asynccontextmanager
async def _cloudmap() -> AsyncIterator[Platform]:
    async with fake_cloudmap() as fake:
        yield CloudMap(fake)


PLATFORMS: dict[str, Callable[[], AbstractAsyncContextManager[Platform]]] = {
    "consul": _consul,
    "ecs": _ecs,
    "kubernetes": _kubernetes,
    "docker": _docker,
    "marathon": _marathon,
    "cloudmap": _cloudmap,
}
