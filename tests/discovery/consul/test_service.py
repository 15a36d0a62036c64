"""What the names of one service share, against the fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from discovery.address import Neg
from discovery.consul.config import ConsulConfig
from discovery.consul.service import ABSENT_SECONDS
from discovery.path import Path
from tests.discovery.contract import ONE, THREE, TWO, Watch, keys, watching
from tests.fakes.consul import FakeConsul, fake_consul, instance

BLUE, GREEN, WEB = Path(("dc1", "blue", "web")), Path(("dc1", "green", "web")), Path(("dc1", "web"))


@pytest.fixture
async def consul() -> AsyncIterator[FakeConsul]:
    async with fake_consul() as running:
        running.put("web", instance(*ONE, Tags=["blue"]), instance(*TWO, Tags=["green"]))
        yield running


def blocking(consul: FakeConsul) -> list[str]:
    """The indexes that were asked with, of blocking queries."""
    return [asked.query["index"] for asked in consul.asked if "index" in asked.query]


async def test_two_tags_of_a_service_share_its_query_and_each_has_its_own_part(consul: FakeConsul) -> None:
    async with (
        ConsulConfig(address=consul.url, include_tag=True).open() as source,
        watching(source, BLUE) as blue,
        watching(source, GREEN) as green,
    ):
        await blue.sees(ONE)
        await green.sees(TWO)
        await consul.has_been_asked(3)
        assert blocking(consul) == ["10"]
        consul.put("web", instance(*THREE, Tags=["blue"]), instance(*TWO, Tags=["green"]), index=11)
        await blue.sees(THREE)
        await consul.has_been_asked(4)
        assert blocking(consul) == ["10", "11"]
        consul.put("web", instance(*THREE, Tags=["blue"]), index=12)
        await green.sees_none()
        await blue.sees(THREE)
        assert {frozenset(keys(addr) or ()) for addr in blue.published} == {frozenset({ONE}), frozenset({THREE})}


async def test_a_hundred_observations_of_one_service_ask_one_blocking_query(consul: FakeConsul) -> None:
    watches = [Watch() for _ in range(100)]
    async with ConsulConfig(address=consul.url).open() as source, asyncio.TaskGroup() as group:
        tasks = [group.create_task(watch.run(source, WEB)) for watch in watches]
        for watch in watches:
            await watch.sees(ONE, TWO)
        await consul.has_been_asked(101)
        for number in range(3):
            consul.put("web", instance(*THREE, Tags=[str(number)]), index=11 + number)
            await consul.has_been_asked(102 + number)
        for watch in watches:
            await watch.sees(THREE)
        assert blocking(consul) == ["10", "11", "12", "13"]
        for task in tasks:
            task.cancel()


async def test_when_the_one_that_asks_leaves_another_one_asks_on(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url, include_tag=True).open() as source, watching(source, GREEN) as green:
        async with watching(source, BLUE) as blue:
            await blue.sees(ONE)
            await green.sees(TWO)
            await consul.has_been_asked(3)
        consul.put("web", instance(*THREE, Tags=["green"]), index=11)
        await green.sees(THREE)


async def test_a_full_read_is_one_of_its_own(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url).open() as source, watching(source, WEB) as first:
        await first.sees(ONE, TWO)
        await consul.has_been_asked(2)
        consul.lose("web", instance(*THREE))
        async with watching(source, WEB) as second:
            await second.sees(THREE)
        assert [asked.query.get("index") for asked in consul.asked] == [None, "10", None]


async def test_a_failure_is_everybodys_and_was_asked_for_once(consul: FakeConsul) -> None:
    async with (
        ConsulConfig(address=consul.url, include_tag=True).open() as source,
        watching(source, BLUE) as blue,
        watching(source, GREEN) as green,
    ):
        await blue.sees(ONE)
        await green.sees(TWO)
        await consul.has_been_asked(3)
        consul.status = 500
        consul.garble("web", b"rpc error", index=11)
        assert str(await blue.ends()) == str(await green.ends())
        assert len(consul.asked) == 3
    consul.status = 200
    consul.put("web", instance(*THREE, Tags=["green"]), index=12)
    async with ConsulConfig(address=consul.url, include_tag=True).open() as source, watching(source, GREEN) as green:
        await green.sees(THREE)


async def test_who_comes_after_a_failure_is_not_told_of_it(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url).open() as source, watching(source, WEB) as first:
        await consul.has_been_asked(2)
        consul.status = 500
        consul.wake()
        await first.ends()
        consul.status = 200
        async with watching(source, WEB) as second:
            await second.sees(ONE, TWO)
            await consul.has_been_asked(4)
            consul.put("web", instance(*THREE), index=11)
            await second.sees(THREE)


async def test_a_full_read_that_is_overtaken_by_news_does_not_take_them_back(consul: FakeConsul) -> None:
    async with ConsulConfig(address=consul.url).open() as source, watching(source, WEB) as first:
        await first.sees(ONE, TWO)
        await consul.has_been_asked(2)
        with consul.late_reads() as let_go:
            async with watching(source, WEB) as second:
                await consul.has_been_asked(3)
                consul.put("web", instance(*THREE), index=11)
                await first.sees(THREE)
                let_go.set()
                await second.sees(THREE)
                assert [keys(addr) for addr in second.published] == [{THREE}]
        assert keys(first.latest) == {THREE}


async def test_an_index_of_a_while_ago_is_not_waited_with_for_long(consul: FakeConsul) -> None:
    """The server may have been started anew meanwhile: it would be silent until `wait` is over."""
    consul.blocks = False
    async with ConsulConfig(address=consul.url, wait=25).open() as source, watching(source, WEB):
        await consul.has_been_asked(7)
    waits = [asked.query["wait"] for asked in consul.asked[1:]]
    assert (waits[0], waits[-1]) == ("25000ms", "4000ms")


async def test_a_service_that_does_not_exist_is_heard_of_seldom_though_consul_always_wakes(consul: FakeConsul) -> None:
    consul.blocks = False
    async with ConsulConfig(address=consul.url).open() as source, watching(source, Path(("dc1", "nobody"))) as watch:
        await consul.has_been_asked(4)
        assert set(watch.published) == {Neg()}
    first, *_, last = [asked for asked in consul.asked if asked.service == "nobody"]
    assert last.at - first.at > ABSENT_SECONDS * 0.9
