"""What is told of sources, of a real observatory with platforms in memory; time is virtual."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from discovery.address import Bound, Known
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Freshness, Hears, Publish, Unavailable
from mesh.agent import sources
from mesh.agent.sources import LISTING_SECONDS, Survey, listings, surveys
from tests.binding import at
from tests.fakes.memory import Platform
from tests.virtual_time import settle, virtual

ONE, TWO = Path(("#", "one")), Path(("#", "two"))


def entry(root: Path, platform: object, freshness: Freshness | None = None) -> SourceEntry:
    quiet = Settings(resync=0, confirm_after=0, damping=0)
    return SourceEntry(root, "memory", 1, platform, quiet, freshness=freshness)  # type: ignore[arg-type]


class Sky(Observatory):
    """With two platforms, `/#/one` and `/#/two`."""

    def __init__(self, restored: dict[Path, Known] | None = None) -> None:
        self.one, self.two = Platform(), Platform()
        self.entries = [entry(ONE, self.one), entry(TWO, self.two)]
        loop = asyncio.get_running_loop()
        super().__init__(self.entries, lambda _name, _state: None, restored=restored, clock=loop.time)

    async def wants(self, *names: str) -> None:
        for name in names:
            self.want(Path.parse(name))
        await settle()

    def survey(self, root: Path = ONE) -> Survey:
        return surveys(self, self.entries)[root]

    def row(self, root: Path = ONE) -> dict[str, object]:
        (found,) = [each for each in self.entries if each.root == root]
        return sources.row(found, self.survey(root), self.outage(root), asyncio.get_running_loop().time())


@asynccontextmanager
async def sky(restored: dict[Path, Known] | None = None) -> AsyncIterator[Sky]:
    async with Sky(restored) as it:
        yield it


@virtual
async def test_each_source_is_counted_for_itself_in_one_pass_over_all() -> None:
    async with sky() as it:
        it.one.truth[Path(("users",))] = at(80)
        it.one.truth[Path(("hollow",))] = Bound()
        await it.wants("/#/one/users", "/#/one/hollow", "/#/one/gone", "/#/one/too/long", "/#/three/x")
        found = surveys(it, it.entries)
        assert (found[ONE].observed, found[ONE].answered, found[ONE].failed) == (4, 3, 1)
        assert dict(found[ONE].states) == {"known": 3, "failed": 1}
        assert (found[TWO].observed, found[TWO].answered) == (0, 0)
        assert dict(found[None].states) == {"failed": 1}


@virtual
async def test_a_source_that_fails_answers_nothing_and_holds_what_it_knew() -> None:
    async with sky() as it:
        it.one.truth[Path(("users",))] = at(80)
        await it.wants("/#/one/users")
        assert (it.row()["state"], it.survey().answered) == ("ok", 1)
        await asyncio.sleep(10)
        it.one.fail(Unavailable("no network"))
        await it.wants("/#/one/orders")
        row = it.row()
        assert (row["state"], row["observations"], row["held"], row["failed"]) == ("failed", 2, 1, 1)
        assert (row["reason"], row["last_error"], row["last_error_seconds"]) == ("no network", "no network", 0)
        assert (it.survey().answered, row["oldest_confirmed_seconds"]) == (0, pytest.approx(10, abs=0.1))
        errors = row["errors"]
        await asyncio.sleep(10)
        assert isinstance(errors, int)
        assert errors < it.outage(ONE).errors


@virtual
async def test_an_error_that_is_over_is_still_the_last_one_and_no_reason_any_more() -> None:
    async with sky() as it:
        it.one.fail(Unavailable("no network"))
        await it.wants("/#/one/users")
        assert it.row()["state"] == "failed"
        it.one.recover()
        await asyncio.sleep(60)
        row = it.row()
        assert (row["state"], row["reason"], row["last_error"]) == ("ok", None, "no network")
        assert it.survey().answered == 1


@virtual
async def test_what_comes_from_disk_is_no_answer() -> None:
    name = Path.parse("/#/one/users")
    async with sky({name: Known(at(80), 1, 2)}) as it:
        it.one.silent = True
        await it.wants("/#/one/users")
        assert (it.survey().observed, it.survey().answered, it.row()["state"]) == (1, 0, "held")


@virtual
async def test_the_oldest_and_the_newest_confirmation_are_those_of_all_names() -> None:
    async with sky() as it:
        for name in ("a", "b", "c"):
            await it.wants(f"/#/one/{name}")
            await asyncio.sleep(10)
        it.one.state(Path(("b",)), at(80))
        await settle()
        assert (it.survey().oldest, it.survey().newest) == (pytest.approx(0, abs=1), pytest.approx(30, abs=1))


@virtual
async def test_a_name_that_is_pending_has_not_failed_until_an_attempt_has() -> None:
    async with sky() as it:
        it.one.silent = True
        await it.wants("/#/one/users")
        assert (dict(it.survey().states), it.survey().failed, it.row()["state"]) == ({"pending": 1}, 0, "ok")
        it.one.fail(Unavailable("no network"))
        await settle()
        assert (dict(it.survey().states), it.survey().failed) == ({"pending": 1}, 1)


def test_the_age_of_a_confirmation_says_nothing_of_what_never_changes() -> None:
    platform = Platform()
    told = [
        sources.grows_old(entry(ONE, platform, freshness))
        for freshness in (Freshness(Hears.EVENTS), Freshness(Hears.NOTHING_CHANGES), None)
    ]
    assert told == [True, False, False]


@virtual
async def test_a_source_is_told_with_its_freshness() -> None:
    polled = entry(ONE, Platform(), Freshness(Hears.POLL, 2.5))
    assert sources.head(polled) == {"prefix": "/#/one", "kind": "memory", "freshness": "poll every 2.5 s"}
    assert sources.head(entry(ONE, Platform()))["freshness"] is None


class Listing:
    """A source of which only the list of names is asked."""

    def __init__(self, *names: str, error: Exception | None = None, seconds: float = 0) -> None:
        self._names, self._error, self._seconds = names, error, seconds

    async def observe(self, name: Path, publish: Publish) -> None:
        raise NotImplementedError

    async def names(self) -> Iterable[Path]:
        await asyncio.sleep(self._seconds)
        if self._error is not None:
            raise self._error
        return (Path((name,)) for name in self._names)


class Unlisted:
    async def observe(self, name: Path, publish: Publish) -> None:
        raise NotImplementedError


async def listed(*platforms: object) -> list[dict[str, object]]:
    entries = [entry(Path(("#", f"p{number}")), each) for number, each in enumerate(platforms)]
    async with Observatory(entries, lambda _name, _state: None) as it:
        return await listings(it, entries)


async def test_every_name_is_listed_with_its_prefix_in_order() -> None:
    rows = await listed(Listing("users", "a b", "orders"), Listing())
    assert [(row["lists"], row["count"], row["names"], row["error"]) for row in rows] == [
        (True, 3, ["/#/p0/\\x61\\x20\\x62", "/#/p0/orders", "/#/p0/users"], None),
        (True, 0, [], None),
    ]


async def test_a_source_that_can_not_be_listed_has_an_error_and_no_empty_list() -> None:
    rows = await listed(Listing("users"), Listing(error=Unavailable("no network")), Listing("orders"))
    assert [(row["count"], row["names"], row["error"]) for row in rows] == [
        (1, ["/#/p0/users"], None),
        (None, None, "no network"),
        (1, ["/#/p2/orders"], None),
    ]


async def test_a_source_without_a_list_says_so() -> None:
    (row,) = await listed(Unlisted())
    assert (row["lists"], row["count"], row["names"], row["error"]) == (False, None, None, None)


async def test_a_bug_in_one_source_is_its_error_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    rows = await listed(Listing(error=KeyError("x")), Listing("users"))
    assert [(row["names"], row["error"]) for row in rows] == [
        (None, "a bug in the source: KeyError('x')"),
        (["/#/p1/users"], None),
    ]
    assert len([record for record in caplog.records if record.exc_info]) == 1


@virtual
async def test_sources_are_asked_at_once_and_one_that_hangs_is_an_error_when_its_time_is_over() -> None:
    loop = asyncio.get_running_loop()
    slow = Listing("never", error=Unavailable("late"), seconds=LISTING_SECONDS - 1)
    rows = await listed(Listing("never", seconds=1e6), slow, Unlisted(), Listing("never", seconds=1e6))
    assert loop.time() == pytest.approx(LISTING_SECONDS)
    late = "it has not listed its names within 5 s"
    assert [(row["names"], row["error"]) for row in rows] == [(None, late), (None, "late"), (None, None), (None, late)]
