"""The contract of `discovery.source.Source` as tests. Every source passes the same ones, through a world of its own.

    class TestFilesContract(SourceContract):
        def open_world(self) -> AbstractAsyncContextManager[World]: ...

A hook that a platform has no equivalent of is named in `lacks`; the tests that need it are then skipped by that name.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path as FilePath
from typing import ClassVar

import pytest

from discovery.address import Addr, Bound, Neg
from discovery.path import Path
from discovery.source import Catalog, Misconfigured, Rereads, Source, SourceError, Unavailable
from scripts import ports

PATIENCE_SECONDS = float(os.environ.get("TIELINE_PATIENCE", "10"))

Key = tuple[str, int]
ONE: Key = ("10.0.0.1", 8080)
TWO: Key = ("10.0.0.2", 8080)
THREE: Key = ("10.0.0.3", 9090)


class World(ABC):
    """A platform that the test rules, and the source that observes it. Opened and closed by `open_world`."""

    source: Source

    def name(self, label: str) -> Path:
        """A name of the form this source is asked for."""
        return Path((label,))

    @abstractmethod
    async def put(self, name: Path, *endpoints: Key) -> None:
        """From now on `name` has exactly these endpoints."""

    async def remove(self, name: Path) -> None:
        """There is no such name any more."""
        raise NotImplementedError

    async def empty(self, name: Path) -> None:
        """The name exists and has no endpoints."""
        raise NotImplementedError

    async def go_dark(self) -> None:
        """Nobody answers."""
        raise NotImplementedError

    async def come_back(self) -> None:
        """It answers again, with what it knew."""
        raise NotImplementedError

    async def garble(self, name: Path) -> None:
        """Answers about `name` make no sense."""
        raise NotImplementedError

    async def misconfigure(self) -> None:
        """It refuses whatever this source asks."""
        raise NotImplementedError

    async def halve(self, name: Path) -> None:
        """Answers about `name` break off in the middle."""
        raise NotImplementedError

    async def stall(self) -> None:
        """Questions are taken and not answered."""
        raise NotImplementedError

    async def lose(self, name: Path, *endpoints: Key) -> None:
        """From now on `name` has exactly these endpoints, and nobody is told."""
        raise NotImplementedError


class Watch:
    """What an observation published so far and how it ended. A stream that ends normally is observed again."""

    def __init__(self) -> None:
        self.published: list[Addr] = []
        self.error: SourceError | None = None
        self._changed = asyncio.Event()

    @property
    def latest(self) -> Addr | None:
        return self.published[-1] if self.published else None

    async def run(self, source: Source, name: Path) -> None:
        try:
            while True:
                await source.observe(name, self._publish)
                await asyncio.sleep(0)
        except SourceError as error:
            self.error = error
            self._changed.set()

    def _publish(self, addr: Addr) -> None:
        self.published.append(addr)
        self._changed.set()

    async def until(self, holds: Callable[[Watch], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pytest.fail(f"{what} expected; published: {self.published}, error: {self.error!r}")

    async def sees(self, *endpoints: Key) -> None:
        await self.until(lambda watch: keys(watch.latest) == set(endpoints), f"exactly {endpoints}")

    async def sees_none(self) -> None:
        await self.until(lambda watch: isinstance(watch.latest, Neg), "Neg")

    async def ends(self) -> SourceError:
        await self.until(lambda watch: watch.error is not None, "an error")
        assert self.error is not None
        return self.error


def keys(addr: Addr | None) -> set[Key] | None:
    return {endpoint.key for endpoint in addr.endpoints} if isinstance(addr, Bound) else None


@asynccontextmanager
async def watching(source: Source, name: Path) -> AsyncIterator[Watch]:
    """Observes `name` for as long as the block lasts; leaving it cancels, and that takes less than a second."""
    watch = Watch()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run(source, name))
        try:
            yield watch
        finally:
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=1)
            assert done, "the observation did not end within a second of its cancellation"


async def eventually(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 - the kernel and other people's tasks have no event
                await asyncio.sleep(0.001)
    except TimeoutError:
        pytest.fail(f"{what} expected")


def open_files() -> int:
    return len(list(FilePath("/proc/self/fd").iterdir())) - ports.claims()


class SourceContract(ABC):
    lacks: ClassVar[frozenset[str]] = frozenset()
    """Hooks of `World` that have no equivalent on this platform: "remove", "empty", "garble", "change", ..."""

    @abstractmethod
    def open_world(self) -> AbstractAsyncContextManager[World]:
        """A fresh platform with no names in it, and an open source."""

    def needs(self, *hooks: str) -> None:
        for hook in hooks:
            if hook in self.lacks:
                pytest.skip(f"this platform has no equivalent of {hook!r}")

    async def test_the_first_thing_published_is_the_whole_present_truth(self) -> None:
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE, TWO)
            async with watching(world.source, users) as watch:
                await watch.until(lambda watch: bool(watch.published), "a first truth")
                assert keys(watch.published[0]) == {ONE, TWO}

    async def test_a_name_nobody_put_is_neg_and_not_an_error(self) -> None:
        async with self.open_world() as world:
            await world.put(world.name("users"), ONE)
            async with watching(world.source, world.name("nobody")) as watch:
                await watch.sees_none()
                assert watch.error is None

    async def test_every_later_truth_is_published_whole(self) -> None:
        self.needs("change")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE)
            async with watching(world.source, users) as watch:
                await watch.sees(ONE)
                await world.put(users, ONE, TWO)
                await watch.sees(ONE, TWO)
                await world.put(users, THREE)
                await watch.sees(THREE)

    async def test_a_name_that_appears_later_is_seen(self) -> None:
        self.needs("change")
        async with self.open_world() as world:
            await world.put(world.name("other"), TWO)
            users = world.name("users")
            async with watching(world.source, users) as watch:
                await watch.sees_none()
                await world.put(users, ONE)
                await watch.sees(ONE)

    async def test_a_name_that_disappears_is_neg(self) -> None:
        self.needs("change", "remove")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE)
            async with watching(world.source, users) as watch:
                await watch.sees(ONE)
                await world.remove(users)
                await watch.sees_none()

    async def test_a_name_without_endpoints_is_not_gone(self) -> None:
        self.needs("empty")
        async with self.open_world() as world:
            users = world.name("users")
            await world.empty(users)
            async with watching(world.source, users) as watch:
                await watch.sees()
                assert not any(isinstance(addr, Neg) for addr in watch.published)

    async def test_a_dark_platform_is_an_error_and_publishes_nothing(self) -> None:
        self.needs("go_dark")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE)
            await world.go_dark()
            async with watching(world.source, users) as watch:
                await watch.ends()
                assert watch.published == []

    async def test_a_platform_that_goes_dark_takes_no_endpoint_with_it(self) -> None:
        self.needs("go_dark")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE, TWO)
            async with watching(world.source, users) as watch:
                await watch.sees(ONE, TWO)
                await world.go_dark()
                assert isinstance(await watch.ends(), Unavailable)
                assert {frozenset(keys(addr) or ()) for addr in watch.published} == {frozenset({ONE, TWO})}

    async def test_a_platform_that_comes_back_is_observed_as_before(self) -> None:
        self.needs("go_dark")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE)
            await world.go_dark()
            async with watching(world.source, users) as watch:
                await watch.ends()
            await world.come_back()
            async with watching(world.source, users) as watch:
                await watch.sees(ONE)

    async def test_garbage_is_an_error_and_not_an_empty_name(self) -> None:
        self.needs("garble")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE, TWO)
            await world.garble(users)
            async with watching(world.source, users) as watch:
                assert str(await watch.ends())
                assert watch.published == []

    async def test_half_an_answer_is_an_error_and_not_half_a_name(self) -> None:
        self.needs("halve")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE, TWO)
            await world.halve(users)
            async with watching(world.source, users) as watch:
                assert str(await watch.ends())
                assert watch.published == []

    async def test_a_platform_that_does_not_answer_is_left_within_a_second(self) -> None:
        self.needs("stall")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE)
            await world.stall()
            async with watching(world.source, users) as watch:
                await asyncio.sleep(0.05)  # as long as it takes to ask: nothing tells when it has
                assert watch.published == []

    async def test_a_lost_event_is_repaired_by_reading_again(self) -> None:
        self.needs("lose", "change")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE, TWO)
            async with watching(world.source, users) as watch:
                await watch.sees(ONE, TWO)
                await world.lose(users, TWO, THREE)
                async with watching(world.source, users) as second:
                    await second.until(lambda watch: bool(watch.published), "a full read")
                    assert keys(second.published[0]) == {TWO, THREE}
                if isinstance(world.source, Rereads):
                    await world.source.reread(PATIENCE_SECONDS)
                    await watch.sees(TWO, THREE)

    async def test_an_endpoint_says_where_it_came_from(self) -> None:
        self.needs("origin")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE)
            async with watching(world.source, users) as watch:
                await watch.sees(ONE)
                assert isinstance(watch.latest, Bound)
                assert all(endpoint.origin for endpoint in watch.latest.endpoints)

    async def test_a_refusal_is_misconfigured_and_says_why(self) -> None:
        self.needs("misconfigure")
        async with self.open_world() as world:
            await world.put(world.name("users"), ONE)
            await world.misconfigure()
            async with watching(world.source, world.name("users")) as watch:
                error = await watch.ends()
                assert isinstance(error, Misconfigured)
                assert str(error)

    async def test_two_names_at_once_do_not_mix(self) -> None:
        async with self.open_world() as world:
            users, orders = world.name("users"), world.name("orders")
            await world.put(users, ONE)
            await world.put(orders, TWO, THREE)
            async with watching(world.source, users) as first, watching(world.source, orders) as second:
                await first.sees(ONE)
                await second.sees(TWO, THREE)
                if "remove" not in self.lacks and "change" not in self.lacks:
                    await world.remove(orders)
                    await second.sees_none()
                assert {frozenset(keys(addr) or ()) for addr in first.published} == {frozenset({ONE})}

    async def test_one_name_may_be_observed_twice_at_once(self) -> None:
        """A resync opens the new observation before it lets go of the older one."""
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE)
            async with watching(world.source, users) as first:
                await first.sees(ONE)
                async with watching(world.source, users) as second:
                    await second.sees(ONE)
                if "change" not in self.lacks:
                    await world.put(users, ONE, TWO)
                    await first.sees(ONE, TWO)

    async def test_saying_the_same_again_changes_no_value(self) -> None:
        self.needs("change")
        async with self.open_world() as world:
            users = world.name("users")
            await world.put(users, ONE, TWO)
            async with watching(world.source, users) as watch:
                await watch.sees(ONE, TWO)
                await world.put(users, TWO, ONE)
                await world.put(users, ONE, TWO, THREE)
                await watch.sees(ONE, TWO, THREE)
                seen = [addr for addr in watch.published if keys(addr) == {ONE, TWO}]
                assert all(addr == seen[0] for addr in seen)

    async def test_cancelling_ends_an_observation_within_a_second(self) -> None:
        async with self.open_world() as world:
            await world.put(world.name("users"), ONE)
            async with watching(world.source, world.name("users")) as watch:
                await watch.sees(ONE)
            async with watching(world.source, world.name("users")):
                await asyncio.sleep(0)

    async def test_no_task_and_no_socket_is_left(self) -> None:
        tasks, files = asyncio.all_tasks(), open_files()
        async with self.open_world() as world:
            await world.put(world.name("users"), ONE)
            for _ in range(2):
                # The first round opens what the world and the source share: connections, and their tasks.
                before = len(asyncio.all_tasks())
                async with watching(world.source, world.name("users")) as watch:
                    await watch.sees(ONE)
            await eventually(lambda: len(asyncio.all_tasks()) <= before, "no task of the observation")
        assert asyncio.all_tasks() == tasks
        assert open_files() <= files

    async def test_the_catalogue_lists_what_can_be_observed(self) -> None:
        async with self.open_world() as world:
            if not isinstance(world.source, Catalog):
                pytest.skip("this source is no Catalog")
            users, orders = world.name("users"), world.name("orders")
            await world.put(users, ONE)
            await world.put(orders, TWO)
            assert {users, orders} <= set(await world.source.names())
