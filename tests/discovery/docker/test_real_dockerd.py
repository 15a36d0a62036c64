"""Against a real dockerd; its own CLI is what changes it. Skipped where there is none."""

import asyncio
import contextlib
import itertools
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import aiohttp
import pytest

from discovery.address import Addr, Bound, Endpoint, Health, Neg
from discovery.docker.api import Api
from discovery.docker.config import DockerConfig
from discovery.docker.events import Event
from discovery.docker.threads import Threads
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable
from scripts.docker import Daemon, daemon, find, forget_cgroups
from tests.discovery.contract import Key, SourceContract, Watch, World, eventually, watching
from tests.manual import ROOT

pytestmark = pytest.mark.skipif(find() is None, reason="no dockerd here: `python -m scripts.docker --fetch` says why")

WEB = Path(("-", "web"))
LABELS = {"tieline.service": "web", "tieline.port": "80"}
QUICK = ("--stop-signal", "SIGKILL")


@pytest.fixture
async def running() -> AsyncIterator[Daemon]:
    async with daemon() as started:
        yield started


@asynccontextmanager
async def seeing(running: Daemon, name: Path = WEB, **more: str) -> AsyncIterator[Watch]:
    config = DockerConfig.model_validate({"kind": "docker", "address": running.url, **more})
    async with config.open() as source, watching(source, name) as watch:
        await watch.until(lambda watch: bool(watch.published) or watch.error is not None, "a first truth")
        yield watch


def only(addr: Addr | None) -> Endpoint | None:
    return addr.endpoints[0] if isinstance(addr, Bound) and len(addr.endpoints) == 1 else None


def healths(watch: Watch) -> list[Health]:
    """What became of the only endpoint, without repetitions."""
    seen = [endpoint.health for addr in watch.published if (endpoint := only(addr)) is not None]
    return [health for health, _ in itertools.groupby(seen)]


async def is_(watch: Watch, health: Health) -> None:
    def holds(watch: Watch) -> bool:
        endpoint = only(watch.latest)
        return endpoint is not None and endpoint.health is health

    await watch.until(holds, f"one endpoint, {health}")


class DockerdWorld(World):
    def __init__(self, running: Daemon) -> None:
        self.running = running
        self._known: dict[Path, set[Key]] = {}

    def name(self, label: str) -> Path:
        return Path(("shop", label))

    async def put(self, name: Path, *endpoints: Key) -> None:
        known, wanted = self._known.get(name, set()), set(endpoints)
        self._known[name] = wanted
        async with asyncio.TaskGroup() as group:
            for key in wanted - known:
                group.create_task(self._run(name, key))
        for address, port in known - wanted:
            await self.running.cli("rm", "-f", f"{name[1]}-{address}-{port}")

    async def _run(self, name: Path, key: Key, *options: str) -> None:
        labels = {"com.docker.compose.project": name[0], "com.docker.compose.service": name[1]}
        await self.running.run(
            f"{name[1]}-{key[0]}-{key[1]}",
            *("--network", "lan", "--ip", key[0], "--expose", str(key[1]), "--restart", "always", *QUICK),
            labels=labels,
        )

    async def remove(self, name: Path) -> None:
        await self.put(name)

    async def empty(self, name: Path) -> None:
        await self.running.cli("create", "--label", f"tieline.service={'/'.join(name)}", "tiny:1")

    async def go_dark(self) -> None:
        await self.running.kill()

    async def come_back(self) -> None:
        await self.running.start()

    async def stall(self) -> None:
        self.running.signal(signal.SIGSTOP)


class TestDockerdContract(SourceContract):
    lacks = frozenset({"garble", "misconfigure", "halve", "lose"})

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with daemon() as running:
            await running.cli("network", "create", "--subnet", "10.0.0.0/24", "--gateway", "10.0.0.254", "lan")
            world = DockerdWorld(running)
            async with DockerConfig(address=running.url).open() as source:
                world.source = source
                yield world


async def test_a_container_is_called_while_it_runs_and_drains_before_it_dies(running: Daemon) -> None:
    async with seeing(running) as watch:
        assert watch.latest == Neg()
        await running.run("one", labels=LABELS)
        await is_(watch, Health.UNKNOWN)
        endpoint = only(watch.latest)
        assert endpoint is not None
        assert (endpoint.address, endpoint.port, endpoint.origin) == (await running.address("one"), 80, "one")
        assert endpoint.host == await running.cli("info", "-f", "{{.Name}}")
        async with asyncio.TaskGroup() as group:
            group.create_task(running.cli("stop", "-t", "1", "one"))
            await is_(watch, Health.DRAINING)
            await watch.until(lambda watch: watch.latest == Bound(()), "no endpoint")
        await running.cli("start", "one")
        await is_(watch, Health.UNKNOWN)
        await running.cli("rm", "-f", "one")
        await watch.sees_none()


async def test_only_a_signal_that_ends_a_container_drains_it(running: Daemon) -> None:
    async with seeing(running) as watch:
        await running.run("one", "--stop-signal", "SIGUSR1", labels=LABELS)
        await is_(watch, Health.UNKNOWN)
        await running.cli("kill", "-s", "HUP", "one")
        await running.cli("kill", "-s", "USR1", "one")
        await is_(watch, Health.DRAINING)
        await running.cli("kill", "one")
        await watch.until(lambda watch: watch.latest == Bound(()), "no endpoint")
        assert healths(watch) == [Health.UNKNOWN, Health.DRAINING]


async def test_health_checks_decide_and_their_probes_are_not_heard(running: Daemon) -> None:
    heard: list[Event] = []
    check = ("--health-cmd", "test -e /tmp/ok", "--health-interval", "30ms", "--health-retries", "1")
    async with listening(running, heard.append), seeing(running) as watch:
        await running.run("one", *check, labels=LABELS)
        await is_(watch, Health.UNHEALTHY)
        await running.cli("exec", "one", "touch", "/tmp/ok")
        await is_(watch, Health.HEALTHY)
        await running.cli("exec", "one", "rm", "/tmp/ok")
        await is_(watch, Health.UNHEALTHY)
        async with seeing(running) as later:
            await is_(later, Health.UNHEALTHY)  # the list says so too
        now = await running.cli("info", "-f", "{{.SystemTime}}")
        told = await running.cli("events", "--since", "1m", "--until", now)
        assert "exec_die" in told
        assert {event.kind.value for event in heard} == {"ask", "connected", "health"}


async def test_a_paused_container_is_not_called(running: Daemon) -> None:
    async with seeing(running) as watch:
        await running.run("one", labels=LABELS)
        await is_(watch, Health.UNKNOWN)
        await running.cli("pause", "one")
        await is_(watch, Health.UNHEALTHY)
        async with seeing(running) as later:
            await is_(later, Health.UNHEALTHY)
        await running.cli("unpause", "one")
        await is_(watch, Health.UNKNOWN)


async def test_a_container_that_crashes_again_and_again_exists_without_endpoint(running: Daemon) -> None:
    await running.run("one", "--restart", "always", labels=LABELS, command="false")
    async with seeing(running) as watch:
        await running.cli("wait", "one")
        await watch.until(lambda watch: watch.latest == Bound(()), "no endpoint")
        assert Neg() not in watch.published


async def test_a_restarted_container_is_called_where_it_is_now(running: Daemon) -> None:
    await running.run("one", *QUICK, labels=LABELS)
    async with seeing(running) as watch:
        before = await running.address("one")
        await watch.sees((before, 80))
        await running.cli("stop", "one")
        await running.run("other")  # takes its address
        await running.cli("start", "one")
        now = await running.address("one")
        assert now != before
        await watch.sees((now, 80))


async def test_of_several_networks_the_label_or_the_configuration_says_which(running: Daemon) -> None:
    for network in ("back", "front"):
        await running.cli("network", "create", network)
    await running.run("one", "--network", "back", labels=LABELS)
    await running.run("two", "--network", "back", labels={**LABELS, "tieline.network": "front"})
    async with seeing(running, network="back") as watch:
        assert isinstance(watch.error, Misconfigured)
        assert "two is on back, not on front" in str(watch.error)
    await running.cli("network", "connect", "front", "two")
    async with seeing(running) as watch:
        one, two = await running.address("one", "back"), await running.address("two", "front")
        await watch.sees((one, 80), (two, 80))
        await running.cli("network", "connect", "front", "one")
        await running.cli("network", "disconnect", "back", "one")
        await watch.sees((await running.address("one", "front"), 80), (two, 80))
        await running.cli("network", "disconnect", "front", "one")
        await watch.sees((two, 80))


async def test_host_networks_shared_networks_and_none(running: Daemon) -> None:
    await running.image("web:1", "EXPOSE 8080")
    labels = {"tieline.service": "web"}
    await running.run("host", "--network", "host", labels=labels, image="web:1")
    await running.run("pod")
    await running.run("sidecar", "--network", "container:pod", labels=labels, image="web:1")
    await running.run("alone", "--network", "none", labels=labels, image="web:1")
    async with seeing(running, host_address="192.0.2.7") as watch:
        await watch.sees(("192.0.2.7", 8080), (await running.address("pod"), 8080))


async def test_published_ports_are_where_the_host_has_them(running: Daemon) -> None:
    await running.run("one", "-p", "80", labels=LABELS)
    await running.run("two", "-p", "127.0.0.1::80", labels=LABELS)
    ports = [int((await running.cli("port", name, "80")).splitlines()[0].rpartition(":")[2]) for name in ("one", "two")]
    async with seeing(running, reach="published", host_address="192.0.2.7") as watch:
        await watch.sees(("192.0.2.7", ports[0]), ("127.0.0.1", ports[1]))
    await running.run("three", labels=LABELS)
    async with seeing(running, reach="published") as watch:
        assert isinstance(watch.error, Misconfigured)
        assert "port 80 of three is not published" in str(watch.error)


async def test_a_port_that_is_not_clear_is_an_error_of_that_name_only(running: Daemon) -> None:
    await running.image("two:1", "EXPOSE 80", "EXPOSE 443", "EXPOSE 53/udp")
    await running.run("one", labels={"tieline.service": "one"}, image="two:1")
    await running.run("none", labels={"tieline.service": "none"})
    await running.run("good", labels=LABELS)
    async with DockerConfig(address=running.url).open() as source:
        async with (
            watching(source, Path(("-", "one"))) as one,
            watching(source, Path(("-", "none"))) as none,
            watching(source, WEB) as good,
        ):
            assert str(await one.ends()) == "one exposes 80 and 443: label it tieline.port"
            assert str(await none.ends()) == "none exposes no TCP port: label it tieline.port"
            await good.sees((await running.address("good"), 80))
        assert set(await source.names()) == {Path(("-", name)) for name in ("one", "none", "web")}


async def test_what_compose_labels_is_a_service_and_what_it_runs_once_is_not(running: Daemon) -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "users", "tieline.port": "80"}
    for number in "12":
        await running.run(f"shop-users-{number}", labels={**labels, "com.docker.compose.oneoff": "False"})
    await running.run("shop-users-run", labels={**labels, "com.docker.compose.oneoff": "True"})
    async with seeing(running, Path(("shop", "users"))) as watch:
        await watch.sees(*[(await running.address(f"shop-users-{number}"), 80) for number in "12"])


async def test_a_daemon_that_is_killed_comes_back_with_what_it_restarts(running: Daemon) -> None:
    for name in ("one", "two"):
        await running.run(name, "--restart", "always", *QUICK, labels=LABELS)
    async with DockerConfig(address=running.url).open() as source:
        async with watching(source, WEB) as watch:
            await watch.until(lambda watch: isinstance(watch.latest, Bound), "a first truth")
            await running.kill()
            assert isinstance(await watch.ends(), Unavailable)
            assert [len(addr.endpoints) for addr in watch.published if isinstance(addr, Bound)] == [2]
        await running.start()
        async with watching(source, WEB) as watch:
            await watch.until(lambda watch: isinstance(watch.latest, Bound) and len(watch.latest.endpoints) == 2, "two")


async def test_an_endpoint_can_be_called() -> None:
    async with daemon(reachable=True) as running, seeing(running) as watch:
        await running.run("one", labels=LABELS, command="httpd -f -p 80 -h /www")
        await is_(watch, Health.UNKNOWN)
        endpoint = only(watch.latest)
        assert endpoint is not None
        url = f"http://{endpoint.address}:{endpoint.port}/"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 404  # there is a server, without a page


STARTED = """
import asyncio
from scripts.docker import daemon

async def main():
    async with daemon(reachable=True) as running:
        await running.run("one")
        print(running.folder, flush=True)
        await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_no_process_is_left_of_a_daemon_whose_test_was_killed() -> None:
    starting = await asyncio.create_subprocess_exec(sys.executable, "-c", STARTED, cwd=ROOT, stdout=-1)
    assert starting.stdout is not None
    folder = FilePath((await starting.stdout.readline()).decode().strip())
    try:
        assert processes_of(folder)
        starting.kill()
        await starting.wait()
        await eventually(lambda: not processes_of(folder), "no process of the daemon")
        assert folder.name not in FilePath("/proc/mounts").read_text()
    finally:
        shutil.rmtree(folder)
        await forget_cgroups(folder.name)


def processes_of(folder: FilePath) -> list[str]:
    found = []
    for file in FilePath("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_text(errors="replace")
            found += [words] if str(folder) in words else []
    return found


@asynccontextmanager
async def listening(running: Daemon, heard: Callable[[Event], None]) -> AsyncIterator[None]:
    """What the source's own subscription is told."""
    api, threads = Api(running.url, None, 10), Threads()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = await threads.run(api.connect)

    def has_begun() -> None:
        loop.call_soon_threadsafe(begun.set)

    async with asyncio.TaskGroup() as group:
        group.create_task(threads.run(lambda: api.events(server.clock, has_begun, heard)))
        await begun.wait()
        try:
            yield
        finally:
            api.cut()
    assert await threads.ended(5)
    api.close()
