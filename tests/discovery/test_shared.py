"""One run for all names: who starts it, who is told when, and what becomes of those who watch when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable

import pytest

from discovery.address import Addr, Neg
from discovery.path import Path
from discovery.shared import Shared, Told
from discovery.source import Catalog, Rereads, Unavailable
from tests.discovery.contract import eventually, watching
from tests.discovery.observation import up
from tests.virtual_time import settle, virtual

USERS, ORDERS = Path(("users",)), Path(("orders",))


class Fleet:
    """A platform whose answers and events the test decides."""

    def __init__(self) -> None:
        self.truth: dict[Path, Addr] = {USERS: up(1), ORDERS: up(2)}
        self.seen: dict[Path, Addr] = {}
        self.reads = self.runs = self.running = 0
        self.asked: list[Path] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.told: Told | None = None

    async def run(self, told: Told) -> None:
        self.runs += 1
        self.running += 1
        assert self.running == 1
        self.told, self.seen = told, {}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(told))
        finally:
            self.running -= 1

    async def _read(self, told: Told) -> None:
        while True:
            await told.due()
            self.reads += 1
            truth = dict(self.truth)
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            self.seen = truth
            told.all()

    def event(self, name: Path, addr: Addr) -> None:
        assert self.told is not None
        self.truth[name] = self.seen[name] = addr
        self.told.changed(name)

    def key(self, name: Path) -> Hashable:
        return name

    def addr(self, name: Path) -> Addr:
        self.asked.append(name)
        found = self.seen.get(name, Neg())
        if isinstance(found, Neg) and name == Path(("ambiguous",)):
            raise Unavailable("two ports")
        return found

    def names(self) -> Iterable[Path]:
        return self.seen


async def test_it_is_a_source_a_catalogue_and_rereads() -> None:
    source = Shared(Fleet())
    assert isinstance(source, Catalog)
    assert isinstance(source, Rereads)


async def test_one_read_serves_every_name() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source, watching(source, USERS) as first, watching(source, ORDERS) as second:
        await first.sees(("10.0.0.1", 80))
        await second.sees(("10.0.0.2", 80))
        async with watching(source, Path(("nobody",))) as third:
            await third.sees_none()
        assert (fleet.runs, fleet.reads) == (1, 1)


async def test_an_event_is_told_to_the_name_it_is_about_and_asks_for_no_other() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source, watching(source, USERS) as first, watching(source, ORDERS) as second:
        await second.sees(("10.0.0.2", 80))
        fleet.asked.clear()
        fleet.event(USERS, up(1, 3))
        await first.sees(("10.0.0.1", 80), ("10.0.0.3", 80))
        assert fleet.asked == [USERS]
        assert len(second.published) == 1


async def test_the_run_ends_with_the_last_name_and_begins_anew_with_the_next() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source:
        for runs in (1, 2):
            async with watching(source, USERS) as watch:
                await watch.sees(("10.0.0.1", 80))
            assert fleet.runs == runs
            await eventually(lambda: fleet.running == 0, "the end of the run")


async def test_a_failure_is_everybodys_and_the_next_observation_starts_another_run() -> None:
    fleet = Fleet()
    fleet.error = Unavailable("dark")
    async with Shared(fleet) as source:
        async with watching(source, USERS) as first, watching(source, ORDERS) as second:
            assert str(await first.ends()) == "dark"
            assert str(await second.ends()) == "dark"
            assert first.published == second.published == []
        fleet.error = None
        async with watching(source, USERS) as third:
            await third.sees(("10.0.0.1", 80))
        assert fleet.runs == 2


async def test_a_bug_is_raised_before_what_the_platform_said() -> None:
    fleet = Fleet()
    fleet.error = ExceptionGroup("two tasks", [Unavailable("dark"), ExceptionGroup("one", [ValueError("a bug")])])
    async with Shared(fleet) as source:
        with pytest.raises(ValueError, match="a bug"):
            await source.observe(USERS, lambda _: None)


async def test_whoever_observes_a_name_again_is_told_only_what_a_later_read_says() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source, watching(source, USERS) as first:
        await first.sees(("10.0.0.1", 80))
        fleet.truth[USERS] = up(2)
        async with watching(source, USERS) as second:
            await second.sees(("10.0.0.2", 80))
            assert second.published == [up(2)]
        await first.sees(("10.0.0.2", 80))
        assert (fleet.runs, fleet.reads) == (1, 2)


async def test_many_second_readings_at_once_cost_one_read() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source, watching(source, USERS) as first, watching(source, ORDERS) as second:
        await first.sees(("10.0.0.1", 80))
        await second.sees(("10.0.0.2", 80))
        async with watching(source, USERS) as third, watching(source, ORDERS) as fourth:
            await third.sees(("10.0.0.1", 80))
            await fourth.sees(("10.0.0.2", 80))
        assert fleet.reads == 2


async def test_a_read_that_had_begun_does_not_answer_a_later_question() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source, watching(source, USERS) as first:
        await first.sees(("10.0.0.1", 80))
        fleet.gate.clear()
        async with watching(source, USERS):
            await eventually(lambda: fleet.reads == 2, "a second read")
            fleet.truth[USERS] = up(9)
            async with watching(source, USERS) as third:
                fleet.gate.set()
                await third.sees(("10.0.0.9", 80))
                assert third.published[0] == up(9)


async def test_reread_reads_all_again_and_tells_everybody() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source, watching(source, USERS) as first, watching(source, ORDERS) as second:
        await first.sees(("10.0.0.1", 80))
        await second.sees(("10.0.0.2", 80))
        fleet.truth[USERS] = up(7)
        await source.reread(5)
        assert first.published == [up(1), up(7)]
        assert second.published == [up(2), up(2)]


async def test_reread_asks_nothing_when_nothing_is_observed() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source:
        await source.reread(5)
        assert fleet.runs == 0


@virtual
async def test_a_read_that_does_not_come_fails_what_is_observed() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source, watching(source, USERS) as watch:
        await watch.sees(("10.0.0.1", 80))
        fleet.gate.clear()
        await source.reread(5)
        assert str(await watch.ends()) == "a full read has had no answer for 5 s"
        assert watch.published == [up(1)]


async def test_an_error_of_one_name_is_that_names_alone() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source, watching(source, USERS) as first:
        async with watching(source, Path(("ambiguous",))) as second:
            assert str(await second.ends()) == "two ports"
        await source.reread(5)
        assert first.error is None
        assert fleet.runs == 1


async def test_names_come_from_a_run_of_their_own_or_from_the_one_there_is() -> None:
    fleet = Fleet()
    async with Shared(fleet) as source:
        assert set(await source.names()) == {USERS, ORDERS}
        await eventually(lambda: fleet.running == 0, "the end of the run")
        async with watching(source, USERS) as watch:
            await watch.sees(("10.0.0.1", 80))
            assert set(await source.names()) == {USERS, ORDERS}
            assert fleet.runs == 2


async def test_names_of_a_platform_that_fails_are_its_error() -> None:
    fleet = Fleet()
    fleet.error = Unavailable("dark")
    async with Shared(fleet) as source:
        with pytest.raises(Unavailable, match="dark"):
            await source.names()


async def test_closing_ends_the_run_and_whoever_still_observes() -> None:
    fleet = Fleet()
    async with asyncio.TaskGroup() as group:
        async with Shared(fleet) as source:
            task = group.create_task(source.observe(USERS, lambda _: None))
            await settle()
        await asyncio.wait({task}, timeout=1)
        assert task.done()
        assert fleet.running == 0
