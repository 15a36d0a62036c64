from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from discovery.consul.config import ConsulConfig
from discovery.path import Path
from discovery.source import Unavailable
from tests.discovery.contract import ONE, TWO, watching
from tests.fakes.consul import FakeConsul, fake_consul, instance

BLUE, GREEN = Path(("dc1", "blue", "db")), Path(("dc1", "green", "db"))


@pytest.fixture
async def consul() -> AsyncIterator[FakeConsul]:
    async with fake_consul() as running:
        running.put("db", instance(*ONE, Tags=["blue"]), instance("db.example", TWO[1], Tags=["green"]))
        yield running


async def test_a_host_name_that_cannot_be_resolved_fails_the_names_that_need_it_and_no_other(
    consul: FakeConsul,
) -> None:
    broken = True

    async def resolve(host: str) -> tuple[tuple[str, ...], float]:
        if broken:
            raise Unavailable(f"DNS: {host} A: SERVFAIL")
        return (TWO[0],), 60.0

    async with ConsulConfig(address=consul.url, include_tag=True).open() as source:
        source.asking.reader.resolve = resolve
        async with watching(source, BLUE) as blue:
            async with watching(source, GREEN) as green:
                assert "db.example A: SERVFAIL" in str(await green.ends())
                assert green.published == []
            await blue.sees(ONE)
            broken = False
            async with watching(source, GREEN) as green:
                await green.sees(TWO)
            assert blue.error is None


async def test_an_answer_equal_to_the_last_is_resolved_again_when_its_time_has_come(consul: FakeConsul) -> None:
    asked = asyncio.Event()
    answers = iter([(("10.0.0.9",), 0.01), (("10.0.0.8",), 60.0)])

    async def resolve(_host: str) -> tuple[tuple[str, ...], float]:
        asked.set()
        return next(answers)

    async with ConsulConfig(address=consul.url, include_tag=True).open() as source:
        source.asking.reader.resolve = resolve
        async with watching(source, GREEN) as watch:
            await watch.sees(("10.0.0.9", TWO[1]))
            await watch.sees(("10.0.0.8", TWO[1]))
