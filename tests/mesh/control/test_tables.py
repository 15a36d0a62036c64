"""The tables in force: replicas that agree, stores that are away, and stores that say what can't be believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path as File

import pytest

from discovery.backoff import Backoff
from mesh.control.store.protocol import Conflict, Store, Unavailable, Unreadable
from mesh.control.tables import Tables
from mesh.control.version import Version
from scripts import consul, etcd
from scripts.running import eventually
from tests.mesh.control.store.contract import GONE, PATIENCE_SECONDS, Server, World, table
from tests.mesh.control.store.worlds import ConsulWorld, EtcdWorld, FileWorld, kept

needs_consul = pytest.mark.skipif(
    consul.find() is None, reason="no consul here: `python -m scripts.consul --fetch` says why"
)
needs_etcd = pytest.mark.skipif(etcd.find() is None, reason="no etcd here: `python -m scripts.etcd --fetch` says why")

QUICK = Backoff(first=0.01, most=0.1)


class Replica:
    """Tables that are kept, and what a subscriber of them was told."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tables = Tables(store, backoff=QUICK)
        self.told: list[Version] = []
        self.tables.subscribe(self.told.append)

    def numbers(self, namespace: str) -> list[int]:
        return [version.number for version in self.told if version.namespace == namespace]

    async def until(self, holds: Callable[[Tables], bool], what: str) -> None:
        try:
            await eventually(lambda: holds(self.tables), PATIENCE_SECONDS, what, every=0.005)
        except TimeoutError:
            pytest.fail(f"{what} expected; known: {self.tables.all()}, held: {self.tables.held}")

    async def sees(self, version: Version) -> None:
        await self.until(lambda tables: tables.get(version.namespace) == version, f"{version}")

    async def is_held(self) -> str:
        await self.until(lambda tables: tables.held is not None, "held")
        return str(self.tables.held)

    async def is_fresh(self) -> None:
        await self.until(lambda tables: tables.held is None, "fresh")

    async def doubts(self, namespace: str) -> str:
        await self.until(lambda tables: namespace in tables.unreadable, f"a doubt about {namespace}")
        return self.tables.unreadable[namespace]


@asynccontextmanager
async def replica(world: World) -> AsyncIterator[Replica]:
    async with world.open() as store, asyncio.TaskGroup() as group:
        opened = Replica(store)
        task = group.create_task(opened.tables.keep())
        try:
            yield opened
        finally:
            task.cancel()


@pytest.fixture(scope="module")
def a_consul() -> Iterator[consul.Agent]:
    with kept(consul.agent(durable=True)) as running:
        yield running


@pytest.fixture(scope="module")
def an_etcd() -> Iterator[etcd.Member]:
    with kept(etcd.cluster()) as members:
        yield members[0]


@pytest.fixture(params=["sqlite", pytest.param("consul", marks=needs_consul), pytest.param("etcd", marks=needs_etcd)])
def world(request: pytest.FixtureRequest, tmp_path: File) -> World:
    match request.param:
        case "consul":
            return ConsulWorld(request.getfixturevalue("a_consul"))
        case "etcd":
            return EtcdWorld(request.getfixturevalue("an_etcd"))
        case _:
            return FileWorld(tmp_path / "control.sqlite")


@asynccontextmanager
async def own_server(kind: str) -> AsyncIterator[Server]:
    if kind == "consul":
        async with consul.agent(durable=True) as running:
            yield ConsulWorld(running)
    else:
        async with etcd.cluster() as members:
            yield EtcdWorld(members[0])


async def test_what_is_there_is_known_when_it_is_ready(world: World) -> None:
    async with world.open() as store:
        version = await store.put("default", table("a"), "any")
        deletion = await store.put("gone", GONE, "any")
        tables = Tables(store)
        assert tables.get("default") is None
        assert tables.held == "the store has not answered yet"
        async with asyncio.TaskGroup() as group:
            task = group.create_task(tables.keep())
            await tables.ready()
            assert tables.get("default") == version
            assert dict(tables.all()) == {"default": version, "gone": deletion}
            assert (tables.held, tables.held_since) == (None, None)
            task.cancel()


async def test_a_change_is_known_at_once_where_it_was_made_and_soon_elsewhere(world: World) -> None:
    async with replica(world) as here, replica(world) as there:
        await here.tables.ready()
        await there.tables.ready()
        version = await here.tables.put("default", table("a"), "absent")
        assert here.tables.get("default") == version
        assert here.told == [version]
        await there.sees(version)
        with pytest.raises(Conflict) as raised:
            await there.tables.put("default", table("b"), "absent")
        assert raised.value.current == version
        deletion = await there.tables.put("default", GONE, 1)
        await here.sees(deletion)
        assert here.told == there.told == [version, deletion]


async def test_who_has_ended_a_subscription_is_told_no_more(world: World) -> None:
    told: list[int] = []
    async with replica(world) as here:
        end = here.tables.subscribe(lambda version: told.append(version.number))
        await here.tables.put("default", table("a"), "any")
        end()
        end()
        await here.tables.put("default", table("b"), "any")
    assert told == [1]
    assert here.numbers("default") == [1, 2]


async def test_two_replicas_agree_after_a_storm_from_both(world: World) -> None:
    namespaces = ("one", "two", "three")

    async def storm(tables: Tables, who: str) -> None:
        for number in range(25):
            namespace = namespaces[number % 3]
            change = table(f"{who}-{number}", who=who) if number % 7 else GONE
            await tables.put(namespace, change, "any")

    async with replica(world) as here, replica(world) as there:
        await here.tables.ready()
        await there.tables.ready()
        async with asyncio.TaskGroup() as group:
            for each in (here, there):
                for worker in range(4):
                    group.create_task(storm(each.tables, f"{id(each)}-{worker}"))
        final = await here.store.current()
        assert sum(version.number for version in final.values() if isinstance(version, Version)) == 200
        for each in (here, there):
            for version in final.values():
                assert isinstance(version, Version)
                await each.sees(version)
            assert dict(each.tables.all()) == final
            for namespace in namespaces:
                numbers = each.numbers(namespace)
                assert numbers == sorted(set(numbers))
            assert each.tables.unreadable == {}


@pytest.mark.parametrize("kind", [pytest.param("consul", marks=needs_consul), pytest.param("etcd", marks=needs_etcd)])
async def test_while_the_store_is_away_what_was_known_is_held_and_no_change_is_made(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with own_server(kind) as server, replica(server) as here:
        version = await here.tables.put("default", table("a"), "any")
        await here.tables.ready()
        await here.is_fresh()
        await server.kill()
        assert server.address in await here.is_held()
        assert here.tables.held_since is not None
        with pytest.raises(Unavailable, match=server.address):
            await here.tables.put("default", table("lost"), "any")
        assert here.tables.get("default") == version
        await server.restart()
        await here.is_fresh()
        assert here.tables.held_since is None
        assert here.tables.get("default") == version
        assert (await here.tables.put("default", table("b"), 1)).number == 2
        assert here.numbers("default") == [1, 2]
    warnings = [record for record in caplog.records if record.name == "tieline.control" and record.levelno >= 30]
    assert [record.message for record in warnings] == ["the store can't be asked, what was known of it is kept"]


@pytest.mark.parametrize("kind", [pytest.param("consul", marks=needs_consul), pytest.param("etcd", marks=needs_etcd)])
async def test_a_replica_that_starts_without_its_store_waits_for_it(kind: str) -> None:
    async with own_server(kind) as server:
        async with server.open() as store:
            version = await store.put("default", table("a"), "any")
        await server.kill()
        async with replica(server) as here:
            await here.until(lambda tables: server.address in (tables.held or ""), "a reason")
            assert dict(here.tables.all()) == {}
            await server.restart()
            await here.tables.ready()
            assert here.tables.get("default") == version


async def test_what_makes_no_sense_changes_nothing(world: World) -> None:
    async with replica(world) as here:
        version = await here.tables.put("default", table("a"), "any")
        await here.tables.ready()
        await world.garble("default")
        assert "not what Tieline wrote" in await here.doubts("default")
        assert here.tables.get("default") == version
        assert here.tables.held is None
        other = await here.tables.put("other", table("b"), "any")
        assert here.tables.get("other") == other
        with pytest.raises(Unreadable):
            await here.tables.put("default", table("c"), "any")


@needs_consul
async def test_a_store_that_has_lost_all_is_no_empty_one() -> None:
    """A Consul in development mode forgets when it is killed."""
    async with consul.agent() as running:
        world = ConsulWorld(running)
        async with replica(world) as here:
            for name in "abc":
                version = await here.tables.put("default", table(name), "any")
            await here.tables.ready()
            await world.kill()
            await here.is_held()
            await world.restart()
            assert "has lost default" in await here.doubts("default")
            await here.is_fresh()
            assert here.tables.get("default") == version
            async with world.open() as other:
                await other.put("default", table("another"), "any")
            await here.until(
                lambda tables: "version 1 of default after version 3" in tables.unreadable["default"], "a doubt"
            )
            with pytest.raises(Unreadable, match="restart the control plane"):
                await here.tables.put("default", table("c"), "any")
            assert here.tables.get("default") == version
            assert here.numbers("default") == [1, 2, 3]


async def test_a_version_that_is_put_right_is_in_force_again(tmp_path: File) -> None:
    """What was believed before a doubt and comes after it."""
    world = FileWorld(tmp_path / "control.sqlite")
    async with replica(world) as here:
        await here.tables.put("default", table("a"), "any")
        await here.tables.ready()
        await world.garble("default")
        await here.doubts("default")
        await world.repair("default", 3)
        await here.until(lambda tables: tables.unreadable == {}, "no doubt")
        assert here.numbers("default") == [1, 3]
