"""Answers and events that cross each other, containers that dockerd is stuck with, and stop signals."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import pytest

from discovery.address import Bound, Health, Neg
from discovery.docker.config import DockerConfig
from discovery.path import Path
from discovery.shared import Shared
from discovery.source import Unavailable
from tests.discovery.contract import Watch, watching
from tests.fakes.docker import FakeContainer, FakeDocker, Served, fake_docker

WEB = Path(("-", "web"))
ONE, TWO = ("10.0.0.1", 80), ("10.0.0.2", 80)


@pytest.fixture
async def served(tmp_path: FilePath) -> AsyncIterator[Served]:
    async with fake_docker(tmp_path) as started:
        yield started


@pytest.fixture
def platform(served: Served) -> FakeDocker:
    return served.fake


@asynccontextmanager
async def opened(served: Served, **more: object) -> AsyncIterator[Shared]:
    config = DockerConfig.model_validate({"kind": "docker", "address": served.url, **more})
    async with config.open() as source:
        yield source


def web(name: str = "one", address: str = ONE[0], **more: object) -> FakeContainer:
    made = FakeContainer(name, {"tieline.service": "web"}, networks={"bridge": address}, exposed=(80,))
    for key, value in more.items():
        setattr(made, key, value)
    return made


async def is_(watch: Watch, *healths: Health) -> None:
    def holds(watch: Watch) -> bool:
        return isinstance(watch.latest, Bound) and [each.health for each in watch.latest.endpoints] == list(healths)

    await watch.until(holds, f"{healths}")


async def test_what_dies_while_it_is_listed_stays_dead(served: Served, platform: FakeDocker) -> None:
    platform.run(web())
    platform.run(web("two", TWO[0]))

    def stop() -> None:
        platform.list_taken = None
        platform.stop("one")

    async with opened(served) as source, watching(source, WEB) as watch:
        await watch.sees(ONE, TWO)
        platform.list_taken = stop
        await source.reread(10)
        await watch.sees(TWO)
        sizes = [len(addr.endpoints) for addr in watch.published if isinstance(addr, Bound)]
        assert sizes == sorted(sizes, reverse=True)


async def test_what_is_removed_while_the_first_list_is_made_is_gone(served: Served, platform: FakeDocker) -> None:
    platform.run(web())

    def remove() -> None:
        platform.list_taken = None
        platform.remove("one")

    platform.list_taken = remove
    async with opened(served) as source, watching(source, WEB) as watch:
        await watch.sees_none()


async def test_what_changes_while_the_first_list_is_made_is_not_left_out(served: Served, platform: FakeDocker) -> None:
    platform.run(web())

    def change() -> None:
        platform.list_taken = None
        platform.set_health("one", "unhealthy")

    platform.list_taken = change
    async with opened(served) as source, watching(source, WEB) as watch:
        await is_(watch, Health.UNHEALTHY)
        assert watch.published[0] != Neg()


async def test_what_dies_while_it_is_asked_about_stays_dead(served: Served, platform: FakeDocker) -> None:
    platform.run(web())
    async with opened(served) as source, watching(source, WEB) as watch:

        async def stop() -> None:
            platform.inspect_taken = None
            platform.stop("one")
            await watch.until(lambda watch: watch.latest == Bound(()), "no endpoint")

        await watch.sees(ONE)
        platform.inspect_taken = stop
        platform.connect("one", "front", "10.0.0.9")  # so it is asked about
        await watch.until(lambda watch: watch.latest == Bound(()), "no endpoint")
        seen = len(watch.published)
        await platform.has_been_asked("/containers/", 3)  # the first answer was not believed
        platform.run(web("two", TWO[0]))
        await watch.sees(TWO)
        assert all(addr == Bound(()) for addr in watch.published[seen - 1 : -1])


async def test_a_container_that_dockerd_is_stuck_with_holds_up_no_other(served: Served, platform: FakeDocker) -> None:
    platform.stuck = {f"stuck{number}" for number in range(3)}
    async with opened(served, timeout="500ms") as source, watching(source, WEB) as watch:
        await watch.sees_none()
        for number in range(3):
            platform.run(web(f"stuck{number}", f"10.0.1.{number}"))
        platform.run(web())
        await watch.until(lambda watch: isinstance(watch.latest, Bound) and len(watch.latest.endpoints) == 1, "one")
        await watch.sees(ONE, *[(f"10.0.1.{number}", 80) for number in range(3)])
        assert watch.error is None


async def test_containers_of_no_service_cost_nothing(served: Served, platform: FakeDocker) -> None:
    async with opened(served) as source, watching(source, WEB) as watch:
        await watch.sees_none()
        before = len(platform.asked)
        for number in range(20):
            platform.run(FakeContainer(f"c{number}", networks={"bridge": f"10.0.1.{number}"}))
        platform.run(web())
        await watch.sees(ONE)
        assert len(platform.asked) - before <= 2  # when it was created and when it was started


async def test_what_an_event_says_is_not_asked(served: Served, platform: FakeDocker) -> None:
    platform.run(web())
    async with opened(served) as source, watching(source, WEB) as watch:
        await watch.sees(ONE)
        before = len(platform.asked)
        platform.set_health("one", "healthy")
        platform.set_state("one", "paused", "pause")
        platform.set_state("one", "running", "unpause")
        platform.stop("one")
        platform.remove("one")
        await watch.sees_none()
        assert len(platform.asked) == before


async def test_a_signal_that_is_not_the_containers_own_drains_nothing(served: Served, platform: FakeDocker) -> None:
    platform.run(web(stop_signal="SIGWINCH"))
    async with opened(served) as source, watching(source, WEB) as watch:
        await watch.sees(ONE)
        platform.kill("one", 1)
        await platform.has_been_asked("/containers/", 2)
        platform.set_health("one", "healthy")
        await is_(watch, Health.HEALTHY)
        platform.kill("one", 28)
        await is_(watch, Health.DRAINING)
        assert Health.DRAINING not in {
            each.health for addr in watch.published[:-1] if isinstance(addr, Bound) for each in addr.endpoints
        }


async def test_a_container_that_survives_its_stop_signal_is_called_again(served: Served, platform: FakeDocker) -> None:
    platform.run(web())
    async with opened(served, stopping=0) as source, watching(source, WEB) as watch:
        await watch.sees(ONE)
        platform.kill("one", 15)
        await is_(watch, Health.DRAINING)
        await source.reread(10)
        await is_(watch, Health.UNKNOWN)


async def test_a_full_read_does_not_forget_that_a_container_drains(served: Served, platform: FakeDocker) -> None:
    platform.run(web())
    async with opened(served) as source, watching(source, WEB) as watch:
        await watch.sees(ONE)
        platform.kill("one", 15)
        await is_(watch, Health.DRAINING)
        await source.reread(10)
        await is_(watch, Health.DRAINING)
        platform.tell(platform.named("one"), "start")  # as after `docker restart`
        await is_(watch, Health.UNKNOWN)


async def test_a_full_read_without_answer_is_an_error(served: Served, platform: FakeDocker) -> None:
    platform.run(web())
    async with opened(served, timeout="100ms") as source, watching(source, WEB) as watch:
        await watch.sees(ONE)
        platform.stalls = True
        await source.reread(10)
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert "has not answered /containers/json within 0.1 s" in str(error)
        assert len(watch.published) == 1
