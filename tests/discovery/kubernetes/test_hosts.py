from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from discovery.kubernetes import hosts as module
from discovery.kubernetes.hosts import Hosts
from discovery.kubernetes.records import Key
from discovery.source import Unavailable
from tests.discovery.contract import eventually

DB: Key = ("shop", "db")
MAIL: Key = ("shop", "mail")


class Names:
    """DNS that the test rules."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, ...]] = {}
        self.seconds = 60.0
        self.asked: list[str] = []
        self.silent: set[str] = set()

    async def resolve(self, host: str) -> tuple[tuple[str, ...], float]:
        self.asked.append(host)
        if host in self.silent:
            await asyncio.Event().wait()
        if host not in self.answers:
            raise Unavailable(f"DNS: {host}: SERVFAIL")
        return self.answers[host], self.seconds


@asynccontextmanager
async def running(names: Names, changed: list[Key]) -> AsyncIterator[Hosts]:
    hosts = Hosts(names.resolve, changed.append)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(hosts.run())
        yield hosts
        task.cancel()


async def test_a_host_is_resolved_once_for_all_who_use_it() -> None:
    names, changed = Names(), list[Key]()
    names.answers["a.example"] = ("10.0.0.1",)
    async with running(names, changed) as hosts:
        hosts.use(DB, ["a.example"])
        hosts.use(MAIL, ["a.example"])
        assert not hosts.knows(DB)
        await hosts.settled(10)
        assert hosts.knows(DB)
        assert hosts.addresses("a.example") == ("10.0.0.1",)
        assert names.asked == ["a.example"]
        assert sorted(changed) == [DB, MAIL]


async def test_who_uses_several_is_told_when_all_are_known() -> None:
    names, changed = Names(), list[Key]()
    names.answers = {"a.example": ("10.0.0.1",), "b.example": ("10.0.0.2",)}
    async with running(names, changed) as hosts:
        hosts.use(DB, ["a.example", "b.example"])
        await hosts.settled(10)
        assert changed == [DB]


async def test_a_host_is_resolved_again_when_its_time_is_over() -> None:
    names, changed = Names(), list[Key]()
    names.answers["a.example"], names.seconds = ("10.0.0.1",), 0.01
    async with running(names, changed) as hosts:
        hosts.use(DB, ["a.example"])
        await hosts.settled(10)
        changed.clear()
        names.answers["a.example"] = ("10.0.0.2",)
        await eventually(lambda: changed == [DB], "news of the service")
        assert hosts.addresses("a.example") == ("10.0.0.2",)


async def test_a_host_that_cannot_be_resolved_is_an_error_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    names, changed = Names(), list[Key]()
    async with running(names, changed) as hosts:
        with pytest.raises(Unavailable, match="not been resolved yet"):
            hosts.addresses("a.example")
        hosts.use(DB, ["a.example"])
        await hosts.settled(10)
        with pytest.raises(Unavailable, match="SERVFAIL"):
            hosts.addresses("a.example")
        names.answers["a.example"] = ("10.0.0.1",)
        await eventually(lambda: changed == [DB, DB], "news of the service")
        assert hosts.addresses("a.example") == ("10.0.0.1",)


async def test_one_that_takes_long_holds_up_nobody_else() -> None:
    names, changed = Names(), list[Key]()
    names.answers["a.example"] = ("10.0.0.1",)
    names.silent.add("b.example")
    async with running(names, changed) as hosts:
        hosts.use(DB, ["a.example"])
        hosts.use(MAIL, ["b.example"])
        await hosts.settled(0.05)
        assert hosts.knows(DB)
        assert not hosts.knows(MAIL)
        assert changed == [DB]


async def test_what_nobody_uses_any_more_is_forgotten() -> None:
    names, changed = Names(), list[Key]()
    names.answers["a.example"], names.seconds = ("10.0.0.1",), 0.01
    async with running(names, changed) as hosts:
        hosts.use(DB, ["a.example"])
        await hosts.settled(10)
        hosts.use(DB, [])
        asked = len(names.asked)
        await asyncio.sleep(0.05)  # that nothing is asked has no event
        assert len(names.asked) <= asked + 1
        assert hosts.keys() == []
        with pytest.raises(Unavailable):
            hosts.addresses("a.example")
