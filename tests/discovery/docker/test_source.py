"""The contract against the fake, and what a real dockerd can't be made to do. `test_real_dockerd.py` has the rest."""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import docker
import pytest

from discovery.address import Bound, Endpoint, Health, Protocol
from discovery.docker.config import DockerConfig
from discovery.docker.threads import Threads
from discovery.path import Path
from discovery.source import Rereads, Source, Unavailable
from tests.discovery.contract import (
    ONE,
    THREE,
    TWO,
    Key,
    SourceContract,
    Watch,
    World,
    eventually,
    keys,
    watching,
)
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


@asynccontextmanager
async def fake(*, podman: bool = False, **more: str) -> AsyncIterator[tuple[FakeDocker, Source]]:
    with tempfile.TemporaryDirectory() as folder:
        async with fake_docker(FilePath(folder), podman=podman) as served:
            config = DockerConfig.model_validate({"kind": "docker", "address": served.url, **more})
            async with config.open() as source:
                yield served.fake, source


def web(name: str = "one", address: str = "10.0.0.1", **labels: str) -> FakeContainer:
    return FakeContainer(name, {"tieline.service": "web", **labels}, networks={"bridge": address}, exposed=(80,))


def only(watch: Watch) -> Endpoint:
    assert isinstance(watch.latest, Bound)
    (endpoint,) = watch.latest.endpoints
    return endpoint


async def is_(watch: Watch, health: Health) -> None:
    def holds(watch: Watch) -> bool:
        return isinstance(watch.latest, Bound) and [each.health for each in watch.latest.endpoints] == [health]

    await watch.until(holds, f"one endpoint, {health}")


async def test_the_labels_reach_the_endpoint() -> None:
    labels = {"tieline.weight": "2.5", "tieline.zone": "a", "tieline.protocol": "grpc", "tieline.meta.version": "7"}
    async with fake() as (platform, source), watching(source, WEB) as watch:
        platform.run(web(**labels))
        await watch.sees(("10.0.0.1", 80))
        endpoint = only(watch)
        assert (endpoint.weight, endpoint.zone, endpoint.protocol) == (2.5, "a", Protocol.GRPC)
        assert (endpoint.metadata, endpoint.origin, endpoint.host) == ((("version", "7"),), "one", "docker-host")


async def test_the_ten_thousandth_container_is_not_asked_about_alone() -> None:
    async with fake() as (platform, source):
        for number in range(300):
            platform.run(web(f"c{number}", f"10.1.{number // 250}.{number % 250}"))
        async with watching(source, WEB) as watch:
            await watch.until(
                lambda watch: isinstance(watch.latest, Bound) and len(watch.latest.endpoints) == 300, "all"
            )
        assert [path for path in platform.asked if path.startswith("/containers/")] == ["/containers/json"]


async def test_podmans_containers_are_asked_about_since_its_list_knows_no_health() -> None:
    async with fake(podman=True) as (platform, source):
        platform.run(web())
        platform.set_health("one", "unhealthy")
        async with watching(source, WEB) as watch:
            await is_(watch, Health.UNHEALTHY)
            assert len(watch.published) == 1  # the first truth is whole
            platform.set_health("one", "healthy")
            await is_(watch, Health.HEALTHY)
            platform.disconnect("one", "bridge")
            platform.connect("one", "pasta", "10.0.0.9")
            await watch.sees(("10.0.0.9", 80))
            platform.stop("one")
            await watch.sees()
            platform.remove("one")
            await watch.sees_none()


async def test_a_daemon_without_root_is_reached_by_published_ports() -> None:
    async with fake() as (platform, source):
        platform.rootless = True
        container = web()
        container.published = {80: [("0.0.0.0", 49153)]}
        platform.run(container)
        async with watching(source, WEB) as watch:
            await watch.sees(("127.0.0.1", 49153))


async def test_a_stream_that_ends_is_opened_again_and_what_happened_meanwhile_is_seen() -> None:
    async with fake() as (platform, source), watching(source, WEB) as watch:
        await watch.sees_none()
        platform.silent = True
        platform.run(web())
        platform.silent = False
        platform.end_streams()
        await watch.sees(("10.0.0.1", 80))
        assert watch.error is None


async def test_events_that_make_no_sense_are_an_error_with_their_place() -> None:
    async with fake() as (platform, source):
        platform.run(web())
        async with watching(source, WEB) as watch:
            await watch.sees(("10.0.0.1", 80))
            platform.tell_raw(b'{"Type": "container", "Action": "start", "Actor": {}}\n')
            error = await watch.ends()
            assert isinstance(error, Unavailable)
            assert "/events makes no sense: Actor.ID: Field required" in str(error)
            assert watch.latest == watch.published[0]


async def test_events_that_are_no_json_are_an_error() -> None:
    async with fake() as (platform, source), watching(source, WEB) as watch:
        await watch.sees_none()
        platform.tell_raw(b"what?\n")
        assert isinstance(await watch.ends(), Unavailable)


async def test_a_second_time_the_same_failure_says_the_same() -> None:
    async with fake() as (platform, source):
        platform.status = 500
        texts = []
        for _ in range(2):
            async with watching(source, WEB) as watch:
                texts.append(str(await watch.ends()))
        assert texts[0] == texts[1]
        assert "answers 500 to /version: not allowed" in texts[0]


async def test_no_thread_is_left_however_the_observation_ends() -> None:
    def left() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "docker"]

    async with fake() as (platform, source):
        platform.run(web())
        async with watching(source, WEB) as watch:
            await watch.sees(("10.0.0.1", 80))
            await eventually(lambda: left() == ["docker"], "only the thread of the events")
        await eventually(lambda: not left(), "no thread")
        platform.stalls = True
        async with watching(source, WEB):
            await platform.has_been_asked("/version", 2)
        await eventually(lambda: not left(), "no thread")


def listed_by_the_sdk(url: str) -> list[tuple[str, str, dict[str, str]]]:
    client = docker.DockerClient(base_url=url)
    try:
        return [(each.name, each.status, each.labels) for each in client.containers.list(all=True)]
    finally:
        client.close()


@pytest.mark.parametrize("podman", [False, True], ids=["docker", "podman"])
async def test_third_parties_understand_the_fake(tmp_path: FilePath, podman: bool) -> None:
    async with fake_docker(tmp_path, podman=podman) as served:
        served.fake.run(web())
        served.fake.run(web("two"))
        served.fake.stop("two")
        found = await Threads().run(lambda: listed_by_the_sdk(served.url))
        assert {(name, state) for name, state, _ in found} == {("one", "running"), ("two", "exited")}
        program = shutil.which("docker")
        if program is not None:
            listed = await printed(
                program, "-H", served.url, "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"
            )
            one, two = served.fake.named("one").id, served.fake.named("two").id
            assert set(listed.splitlines()) == {f"{one} running", f"{two} exited"}


async def printed(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_a_list_that_has_lost_a_service_is_one_loss_and_not_many_small_ones() -> None:
    async with world() as it:
        users = it.name("users")
        await it.put(users, ONE, TWO, THREE)
        async with watching(it.source, users) as watch:
            await watch.sees(ONE, TWO, THREE)
            it.fake.garbage = b"[]"
            assert isinstance(it.source, Rereads)
            await it.source.reread(5)
            assert [keys(addr) for addr in watch.published[-2:]] == [{ONE, TWO, THREE}, None]
