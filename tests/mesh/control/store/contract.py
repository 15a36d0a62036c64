"""The contract of `mesh.control.store.protocol.Store` as tests. Every store passes the same ones, through a world.

    class TestSqlite(StoreContract):
        def world(self) -> AbstractAsyncContextManager[World]: ...

A store behind a server passes those of `ServerContract` too.
"""

from __future__ import annotations

import asyncio
import os
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path as File

import pytest

from mesh.control.store.protocol import (
    MOST_BYTES,
    Conflict,
    Expected,
    Latest,
    Refused,
    Store,
    StoreError,
    Unavailable,
    Unreadable,
)
from mesh.control.version import Change, Content, Version
from scripts import ports

PATIENCE_SECONDS = float(os.environ.get("TIELINE_PATIENCE", "10"))
OVERHEAD = 200
"""More than a stored version is beyond its texts."""


def table(text: str, policies: str = "", who: str = "ann", why: str = "because") -> Change:
    return Change(Content(f"/svc => /#/files/{text}", policies), who, why)


GONE = Change(None, "bob", "not needed")


class World(ABC):
    """A store that is empty when the test begins."""

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[Store]:
        """One more client of it."""

    @abstractmethod
    async def garble(self, namespace: str) -> str:
        """What is in force there makes no sense from now on. Returns what an error must name."""


class Server(World):
    """One that can be killed."""

    address: str

    @abstractmethod
    async def kill(self) -> None: ...

    @abstractmethod
    async def restart(self) -> None: ...

    @abstractmethod
    def freeze(self) -> None:
        """It answers nobody, and closes nothing."""


class Watcher:
    """What a watch has told so far, and how it ended."""

    def __init__(self) -> None:
        self.told: list[dict[str, Latest]] = []
        self.error: StoreError | None = None
        self._changed = asyncio.Event()

    async def run(self, store: Store) -> None:
        try:
            async for changed in store.watch():
                self.told.append(changed)
                self._changed.set()
        except StoreError as error:
            self.error = error
            self._changed.set()

    @property
    def latest(self) -> dict[str, Latest]:
        return {namespace: latest for told in self.told for namespace, latest in told.items()}

    def numbers(self, namespace: str) -> list[int]:
        versions = [told[namespace] for told in self.told if namespace in told]
        return [version.number for version in versions if isinstance(version, Version)]

    async def until(self, holds: Callable[[Watcher], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pytest.fail(f"{what} expected; told: {self.told}, error: {self.error!r}")

    async def begins(self) -> dict[str, Latest]:
        await self.until(lambda self: bool(self.told), "a first truth")
        return self.told[0]

    async def sees(self, *versions: Version) -> None:
        await self.until(
            lambda self: all(self.latest.get(version.namespace) == version for version in versions), f"{versions}"
        )

    async def ends(self) -> StoreError:
        await self.until(lambda self: self.error is not None, "an error")
        assert self.error is not None
        return self.error


@asynccontextmanager
async def watching(store: Store) -> AsyncIterator[Watcher]:
    """Watches for as long as the block lasts; leaving it cancels, and that takes less than a second."""
    watcher = Watcher()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watcher.run(store))
        try:
            await watcher.until(lambda self: bool(self.told) or self.error is not None, "a first truth")
            yield watcher
        finally:
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=1)
            assert done, "the watch did not end within a second of its cancellation"


async def made(put: Coroutine[object, object, Version]) -> Version | Conflict:
    try:
        return await put
    except Conflict as conflict:
        return conflict


async def at_once(puts: list[Coroutine[object, object, Version]]) -> tuple[list[Version], list[Conflict]]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(made(put)) for put in puts]
    results = [task.result() for task in tasks]
    return [each for each in results if isinstance(each, Version)], [
        each for each in results if isinstance(each, Conflict)
    ]


def open_files() -> int:
    return len(list(File("/proc/self/fd").iterdir())) - ports.claims()


class StoreContract(ABC):
    @abstractmethod
    def world(self) -> AbstractAsyncContextManager[World]: ...

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Store, Store, World]]:
        """Two clients of an empty store."""
        async with self.world() as world, world.open() as store, world.open() as other:
            yield store, other, world

    async def test_an_empty_store_knows_nothing_and_says_so(self) -> None:
        async with self.opened() as (store, _, _):
            assert await store.current() == {}
            assert await store.get("default") is None
            assert await store.version("default", 1) is None
            assert await store.history("default") == []
            async with watching(store) as watcher:
                assert await watcher.begins() == {}

    async def test_what_was_put_is_in_force_for_everyone(self) -> None:
        async with self.opened() as (store, other, _):
            change = table("a", "- prefix: /svc\n")
            version = await store.put("default", change, "absent")
            assert version.number == 1
            assert (version.namespace, version.who, version.why) == ("default", "ann", "because")
            assert version.content == change.content
            for client in (store, other):
                assert await client.get("default") == version
                assert await client.current() == {"default": version}
                assert await client.version("default", 1) == version
                assert await client.history("default") == [version]

    @pytest.mark.parametrize(
        ("before", "expected"),
        [
            pytest.param([], "absent", id="absent: there never was one"),
            pytest.param([table("a"), GONE], "absent", id="absent: it was deleted"),
            pytest.param([], "any", id="any: there never was one"),
            pytest.param([table("a"), GONE], "any", id="any: it was deleted"),
            pytest.param([table("a"), table("b")], "any", id="any: there is one"),
            pytest.param([table("a"), table("b")], 2, id="the number in force"),
            pytest.param([table("a"), GONE], 2, id="the number of a deletion"),
        ],
    )
    async def test_a_change_that_expects_what_there_is_is_made(self, before: list[Change], expected: Expected) -> None:
        async with self.opened() as (store, _, _):
            for change in before:
                await store.put("default", change, "any")
            version = await store.put("default", table("new"), expected)
            assert version.number == len(before) + 1
            assert await store.get("default") == version

    @pytest.mark.parametrize(
        ("before", "expected"),
        [
            pytest.param([table("a")], "absent", id="absent: there is one"),
            pytest.param([], 1, id="a number: there never was one"),
            pytest.param([table("a"), table("b")], 1, id="a number that was in force"),
            pytest.param([table("a")], 2, id="a number to come"),
            pytest.param([table("a"), GONE], 1, id="the number before a deletion"),
        ],
    )
    async def test_a_change_that_expects_something_else_is_told_what_is_in_force(
        self, before: list[Change], expected: Expected
    ) -> None:
        async with self.opened() as (store, _, _):
            versions = [await store.put("default", change, "any") for change in before]
            with pytest.raises(Conflict) as raised:
                await store.put("default", table("new"), expected)
            assert raised.value.current == (versions[-1] if versions else None)
            assert await store.get("default") == raised.value.current
            assert len(await store.history("default")) == len(before)

    async def test_of_twenty_writers_that_expect_the_same_one_wins(self) -> None:
        async with self.opened() as (store, other, _):
            await store.put("default", table("a"), "absent")
            clients = [(store, other)[number % 2] for number in range(20)]
            puts = [each.put("default", table(str(number)), 1) for number, each in enumerate(clients)]
            winners, losers = await at_once(puts)
            assert [winner.number for winner in winners] == [2]
            assert [loser.current for loser in losers] == 19 * winners
            assert await store.get("default") == winners[0]

    async def test_of_twenty_that_create_one_wins(self) -> None:
        async with self.opened() as (store, other, _):
            clients = [(store, other)[number % 2] for number in range(20)]
            puts = [each.put("default", table(str(number)), "absent") for number, each in enumerate(clients)]
            winners, losers = await at_once(puts)
            assert [winner.number for winner in winners] == [1]
            assert [loser.current for loser in losers] == 19 * winners

    async def test_of_twenty_writers_that_expect_nothing_all_win_one_after_the_other(self) -> None:
        async with self.opened() as (store, other, _):
            clients = [(store, other)[number % 2] for number in range(20)]
            versions, _ = await at_once(
                [each.put("default", table(str(number)), "any") for number, each in enumerate(clients)]
            )
            assert sorted(version.number for version in versions) == list(range(1, 21))
            history = await other.history("default")
            assert history == sorted(versions, key=lambda version: -version.number)

    async def test_numbers_go_on_after_a_deletion(self) -> None:
        async with self.opened() as (store, _, _):
            first = await store.put("default", table("a"), "absent")
            deletion = await store.put("default", GONE, first.number)
            assert deletion.content is None
            assert await store.get("default") == deletion
            assert await store.current() == {"default": deletion}
            again = await store.put("default", table("a"), "absent")
            assert [first.number, deletion.number, again.number] == [1, 2, 3]

    async def test_history_is_newest_first_and_in_pages(self) -> None:
        async with self.opened() as (store, _, _):
            versions = [await store.put("default", table(str(number)), "any") for number in range(12)]
            await store.put("default-2", table("another"), "any")
            newest = versions[::-1]
            assert await store.history("default") == newest
            assert await store.history("default", limit=5) == newest[:5]
            assert await store.history("default", limit=5, before=newest[4].number) == newest[5:10]
            assert await store.history("default", limit=5, before=3) == newest[10:]
            assert await store.history("default", before=1) == []
            assert await store.history("default", before=10**30) == newest
            assert await store.history("default", limit=0) == []
            assert await store.history("nobody") == []

    async def test_a_version_never_changes(self) -> None:
        async with self.opened() as (store, other, _):
            versions = [await store.put("default", change, "any") for change in (table("a"), GONE, table("b"))]
            for number, version in enumerate(versions, 1):
                assert await other.version("default", number) == version
            for number in (-1, 0, 4, 10**30):
                assert await other.version("default", number) is None

    @pytest.mark.parametrize(
        "text", ["", "# only a comment\n", '/a => "b" ;\r\n\t\\', "/größe => /日本/🚀 ;\x00\x1f", "null", "{}"]
    )
    async def test_texts_come_back_as_they_were_written(self, text: str) -> None:
        async with self.opened() as (store, other, _):
            version = await store.put("default", Change(Content(text, text), text, text), "any")
            assert version.content == Content(text, text)
            assert await other.get("default") == version

    async def test_the_largest_change_is_made_and_one_byte_more_is_refused(self) -> None:
        async with self.opened() as (store, other, _):
            room = MOST_BYTES - OVERHEAD
            version = await store.put("default", Change(Content("x" * room, ""), "", ""), "any")
            assert await other.get("default") == version
            for change in (
                Change(Content("x" * MOST_BYTES, ""), "", ""),
                Change(Content("ü" * (room // 2), "x" * OVERHEAD), "", ""),
            ):
                with pytest.raises(Refused, match="too large"):
                    await store.put("default", change, "any")
            assert await store.get("default") == version

    @pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "größe", "x" * 101, "a\n", "%2e"])
    async def test_what_is_no_name_of_a_namespace_is_refused(self, name: str) -> None:
        async with self.opened() as (store, _, _):
            for refused in (
                store.get(name),
                store.put(name, table("a"), "any"),
                store.version(name, 1),
                store.history(name),
            ):
                with pytest.raises(Refused, match="no name of a namespace"):
                    await refused
            assert await store.current() == {}

    async def test_what_is_no_text_is_refused(self) -> None:
        async with self.opened() as (store, _, _):
            with pytest.raises(Refused, match="no text"):
                await store.put("default", Change(Content("\ud800"), "ann"), "any")

    async def test_a_watch_tells_what_there_is_and_then_every_change_by_whomever(self) -> None:
        async with self.opened() as (store, other, _):
            first = await store.put("default", table("a"), "any")
            elsewhere = await store.put("elsewhere", table("b"), "any")
            async with watching(store) as watcher:
                assert await watcher.begins() == {"default": first, "elsewhere": elsewhere}
                await watcher.sees(await store.put("default", table("own"), "any"))
                await watcher.sees(await other.put("default", table("another's"), "any"))
                await watcher.sees(await other.put("third", table("new"), "absent"))
                await watcher.sees(await other.put("elsewhere", GONE, "any"))
                assert watcher.numbers("default") == [1, 2, 3]
                assert watcher.numbers("elsewhere") == [1, 2]

    async def test_a_watch_catches_up_with_a_burst_and_goes_on_with_the_latest(self) -> None:
        async with self.opened() as (store, other, _), watching(store) as watcher:
            versions = [await other.put(f"ns-{number % 3}", table(str(number)), "any") for number in range(60)]
            await watcher.sees(*versions[-3:])
            for namespace in ("ns-0", "ns-1", "ns-2"):
                numbers = watcher.numbers(namespace)
                assert numbers == sorted(set(numbers))

    async def test_a_watcher_that_is_slow_gets_the_latest(self) -> None:
        async with self.opened() as (store, other, _):
            changes = store.watch()
            assert await anext(changes) == {}
            for number in range(30):
                last = await other.put("default", table(str(number)), "any")
            told = 0
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await anext(changes) != {"default": last}:
                    told += 1
            await changes.aclose()
            assert told <= 2

    async def test_two_watches_of_one_client_hear_the_same(self) -> None:
        async with self.opened() as (store, other, _), watching(store) as first, watching(store) as second:
            version = await other.put("default", table("a"), "any")
            await first.sees(version)
            await second.sees(version)

    async def test_nothing_is_left_of_a_watch(self) -> None:
        async with self.world() as world:
            tasks, files = asyncio.all_tasks(), open_files()
            async with world.open() as store:
                for _ in range(3):
                    async with watching(store) as watcher:
                        await watcher.sees(await store.put("default", table("a"), "any"))
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == tasks
            assert open_files() <= files

    async def test_what_makes_no_sense_is_told_by_its_name_and_the_others_go_on(self) -> None:
        async with self.opened() as (store, other, world):
            await store.put("broken", table("a"), "any")
            good = await store.put("good", table("b"), "any")
            async with watching(store) as watcher:
                await watcher.begins()
                named = await world.garble("broken")
                better = await other.put("good", table("c"), good.number)
                await watcher.sees(better)
                await watcher.until(lambda self: isinstance(self.latest["broken"], Unreadable), "an error")
                assert named in str(watcher.latest["broken"])
            current = await store.current()
            assert current["good"] == better
            assert isinstance(current["broken"], Unreadable)
            assert named in str(current["broken"])
            for asked in (store.get("broken"), store.put("broken", table("d"), "any")):
                with pytest.raises(Unreadable, match="restore it") as raised:
                    await asked
                assert named in str(raised.value)
            assert await store.get("good") == better

    @pytest.mark.parametrize("seed", range(3))
    async def test_a_long_story_goes_as_a_list_of_versions_would(self, seed: int) -> None:
        rng = random.Random(seed)
        made: dict[str, list[Version]] = {"one": [], "two": []}
        async with self.opened() as (store, other, _), watching(other) as watcher:
            for number in range(60):
                namespace, client = rng.choice([*made]), rng.choice([store, other])
                versions = made[namespace]
                expected: Expected = rng.choice(["any", "absent", len(versions), max(1, len(versions) - 1)])
                change = rng.choice([GONE, table(str(number))])
                if fits(versions, expected):
                    versions.append(await client.put(namespace, change, expected))
                    assert (versions[-1].number, versions[-1].content) == (len(versions), change.content)
                else:
                    with pytest.raises(Conflict) as raised:
                        await client.put(namespace, change, expected)
                    assert raised.value.current == (versions[-1] if versions else None)
            assert await store.current() == {name: versions[-1] for name, versions in made.items() if versions}
            for name, versions in made.items():
                assert await other.history(name, limit=100) == versions[::-1]
            await watcher.sees(*(versions[-1] for versions in made.values() if versions))


def fits(versions: list[Version], expected: Expected) -> bool:
    match expected:
        case "any":
            return True
        case "absent":
            return not versions or versions[-1].content is None
        case number:
            return number == len(versions) > 0


class ServerContract(StoreContract):
    @abstractmethod
    def server(self) -> AbstractAsyncContextManager[Server]:
        """One that nobody else uses."""

    async def test_a_server_that_is_killed_ends_the_watch_takes_no_change_and_forgets_nothing(self) -> None:
        async with self.server() as server, server.open() as store:
            versions = [await store.put("default", table(str(number)), "any") for number in range(3)]
            async with watching(store) as watcher:
                await watcher.begins()
                await server.kill()
                error = await watcher.ends()
                assert isinstance(error, Unavailable)
                assert server.address in str(error)
            for asked in (store.put("default", table("lost"), "any"), store.get("default"), store.current()):
                with pytest.raises(Unavailable, match=server.address):
                    await asked
            with pytest.raises(Refused, match="too large"):
                await store.put("default", Change(Content("x" * MOST_BYTES), "ann"), "any")
            async with watching(store) as watcher:
                assert server.address in str(await watcher.ends())
                assert watcher.told == []
            await server.restart()
            assert await store.get("default") == versions[-1]
            assert await store.history("default") == versions[::-1]
            async with watching(store) as watcher:
                assert await watcher.begins() == {"default": versions[-1]}
                after = await store.put("default", table("after"), versions[-1].number)
                assert after.number == 4
                await watcher.sees(after)

    async def test_a_server_that_answers_no_more_ends_the_watch(self) -> None:
        async with self.server() as server, server.open() as store, watching(store) as watcher:
            await watcher.sees(await store.put("default", table("a"), "any"))
            server.freeze()
            error = await watcher.ends()
            assert isinstance(error, Unavailable)
            assert server.address in str(error)
            with pytest.raises(Unavailable, match=server.address):
                await store.put("default", table("lost"), "any")
