"""The journal: what is written is what was, and what is not known is said."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path as File

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Bound, Endpoint, Failed, Known, Neg, Pending, State, bound
from discovery.path import Path
from mesh.control import past
from mesh.control.journal import STEADY, Bounds, Journal
from mesh.control.journal_file import JournalFile, Row, Unwritable
from mesh.control.past import NotKnown, Past
from mesh.control.version import Content, Version
from scripts.running import eventually

USERS, CART = Path(("#", "consul", "dc1", "users")), Path(("#", "consul", "dc1", "cart"))
BEGAN = 1_000_000.0


def at(*last: int, since: float = 5.0) -> Known:
    return Known(bound(Endpoint(f"10.0.0.{each}", 80) for each in last), since, since)


def version(number: int, dtab: str = "/svc => /#/consul/dc1") -> Version:
    return Version("default", number, BEGAN, "ann", "", Content(dtab))


class Now:
    """A journal, and the platform it writes about; time passes when a test says so."""

    def __init__(self, file: File, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - a frozen value
        self.time = BEGAN
        self.known: dict[Path, State] = {}
        self.journal = Journal(file, lambda: self.known.items(), bounds, lambda: self.time)

    def becomes(self, path: Path, state: State) -> None:
        self.known[path] = state
        self.journal.observed(path, state)

    async def after(self, seconds: float) -> None:
        """What happened is written, then time passes."""
        assert await self.journal.flush()
        self.time += seconds

    async def state(self, moment: float, path: Path = USERS) -> State | NotKnown:
        return await self.journal.look(moment, lambda then: then.state(path))

    async def number(self, moment: float) -> int | NotKnown | None:
        def work(then: Past) -> int | None:
            found = then.version("default")
            return found.number if found else None

        return await self.journal.look(moment, work)


@asynccontextmanager
async def journal(file: File, bounds: Bounds = Bounds()) -> AsyncIterator[Now]:  # noqa: B008 - a frozen value
    now = Now(file, bounds)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(now.journal.keep())
        try:
            yield now
        finally:
            keeping.cancel()


def known(state: State | NotKnown) -> State | NotKnown:
    """Without when it was confirmed: that is not kept."""
    return Known(state.addr, state.since, 0, state.held, state.lost) if isinstance(state, Known) else state


async def test_states_and_versions_of_any_moment_are_as_they_were(tmp_path: File) -> None:
    async with journal(tmp_path / "journal.sqlite") as now:
        now.becomes(USERS, at(1))
        now.journal.versioned(version(1))
        await now.after(10)
        now.becomes(USERS, Known(at(1).addr, 5.0, 5.0, held="Consul is away"))
        now.becomes(CART, Known(Neg(), 7.0, 7.0))
        await now.after(10)
        now.becomes(USERS, at(2, since=20.0))
        now.journal.versioned(version(2))
        await now.after(10)
        now.becomes(USERS, Failed("dark"))
        await now.after(10)
        for moment in (BEGAN, BEGAN + 9):
            assert known(await now.state(moment)) == known(at(1))
            assert await now.number(moment) == 1
        held = await now.state(BEGAN + 19)
        assert isinstance(held, Known)
        assert (held.held, held.addr) == ("Consul is away", at(1).addr)
        assert known(await now.state(BEGAN + 19, CART)) == Known(Neg(), 7.0, 0)
        assert known(await now.state(BEGAN + 20)) == known(at(2, since=20.0))
        assert (await now.number(BEGAN + 19), await now.number(BEGAN + 20)) == (1, 2)
        assert await now.state(BEGAN + 39) == Failed("dark")


async def test_changes_that_are_written_together_are_kept_apart(tmp_path: File) -> None:
    async with journal(tmp_path / "journal.sqlite") as now:
        await now.after(0)
        for number in range(3):
            now.becomes(USERS, at(number))
            now.journal.versioned(version(number))
            now.time += 0.01
        await now.after(1)
        for number in range(3):
            moment = BEGAN + number / 100 + 0.005
            assert known(await now.state(moment)) == known(at(number))
            assert await now.number(moment) == number


async def test_what_is_not_known_is_said(tmp_path: File) -> None:
    file = tmp_path / "journal.sqlite"
    async with journal(file) as now:
        now.becomes(USERS, at(1))
        await now.after(10)
        assert await now.state(BEGAN - 1) == NotKnown("not known: the journal begins at 1970-01-12T13:46:40Z")
        assert await now.state(now.time + 1) == NotKnown("not known: that time has not come yet")
        state = await now.state(BEGAN, CART)
        assert state == Pending("not known: nobody wanted it then, so it was not observed")
        assert await now.number(BEGAN) is None
    async with journal(file) as now:
        now.time = BEGAN + 100
        now.becomes(CART, at(3))
        await now.after(10)
        # What was known before says nothing of the time after.
        assert await now.state(BEGAN + 101) == Pending("not known: nobody wanted it then, so it was not observed")
        assert known(await now.state(BEGAN + 101, CART)) == known(at(3))
        assert known(await now.state(BEGAN + 5)) == known(at(1))
        gap = await now.state(BEGAN + 50)
        assert gap == NotKnown(
            "not known: the control plane did not run from 1970-01-12T13:46:50Z to 1970-01-12T13:48:20Z"
        )


async def test_a_name_that_nobody_wants_any_more_is_not_known_from_then_on(tmp_path: File) -> None:
    async with journal(tmp_path / "journal.sqlite") as now:
        now.becomes(USERS, at(1))
        await now.after(10)
        del now.known[USERS]
        now.journal._reconcile()
        await now.after(10)
        assert isinstance(await now.state(BEGAN + 9), Known)
        assert isinstance(await now.state(BEGAN + 10), Pending)


async def test_a_name_that_flaps_costs_bounded_space_and_is_not_guessed_at(tmp_path: File) -> None:
    async with journal(tmp_path / "journal.sqlite") as now:
        await now.after(0)
        for turn in range(2_000):
            now.becomes(USERS, at(turn % 2))
            await now.after(0.5)
        with sqlite3.connect(tmp_path / "journal.sqlite") as database:
            (changes,) = database.execute("select count(*) from change").fetchone()
            (contents,) = database.execute("select count(*) from content").fetchone()
        database.close()
        # 1,000 seconds: the first ones, then one in ten seconds, each with a word that there were more.
        assert changes <= STEADY + 2 * 1_000 / 10 + 2
        assert contents <= 3
        assert known(await now.state(BEGAN + 3.2)) == known(at(0))
        unsteady = [await now.state(BEGAN + 500 + each) for each in range(20)]
        assert any(isinstance(each, Pending) and "it changed too often" in str(each.reason) for each in unsteady)
        # It comes to rest, and what it is then is written.
        now.time += 20
        now.becomes(USERS, at(7))
        await now.after(10)
        assert known(await now.state(now.time - 5)) == known(at(7))


async def test_what_it_comes_to_rest_at_is_written_though_nothing_happens_any_more(tmp_path: File) -> None:
    async with journal(tmp_path / "journal.sqlite") as now:
        for turn in range(STEADY + 10):
            now.becomes(USERS, at(turn))
            await now.after(0.01)
        rested = now.time
        now.time += 30
        now.journal._reconcile()
        await now.after(10)
        assert known(await now.state(rested)) == known(at(STEADY + 9))


async def test_the_oldest_goes_and_what_held_then_stays(tmp_path: File) -> None:
    async with journal(tmp_path / "journal.sqlite", Bounds(age_seconds=100.0)) as now:
        now.becomes(CART, at(9))
        now.journal.versioned(version(1))
        for turn in range(30):
            now.becomes(USERS, at(turn))
            await now.after(10)
        await now.journal.prune()
        begins = now.time - 100
        assert isinstance(await now.state(begins - 1), NotKnown)
        assert "the journal begins at" in str(await now.state(begins - 1))
        assert known(await now.state(begins)) == known(at(20))
        assert known(await now.state(begins + 5, CART)) == known(at(9))
        assert await now.number(begins + 5) == 1
        with sqlite3.connect(tmp_path / "journal.sqlite") as database:
            assert database.execute("select count(*) from content").fetchone()[0] == 10 + 1 + 1
        database.close()


async def test_a_journal_keeps_within_its_size(tmp_path: File) -> None:
    bounds = Bounds(bytes=1024 * 1024)
    rng = random.Random(1)
    async with journal(tmp_path / "journal.sqlite", bounds) as now:
        names = [Path(("#", "consul", "dc1", f"service-{number}")) for number in range(200)]
        for _ in range(60):
            for name in names:
                now.becomes(name, at(*(rng.randrange(250) for _ in range(5))))
            await now.after(30)
            await now.journal.prune()
        database = sqlite3.connect(tmp_path / "journal.sqlite")
        pages, free, size = (
            database.execute(f"pragma {each}").fetchone()[0] for each in ("page_count", "freelist_count", "page_size")
        )
        database.close()
        assert (pages - free) * size <= bounds.bytes
        assert isinstance(await now.state(BEGAN), NotKnown)
        assert known(await now.state(now.time - 1, names[7])) == known(now.known[names[7]])


async def test_where_not_even_the_present_fits_the_journal_rests_and_says_so(
    tmp_path: File, caplog: pytest.LogCaptureFixture
) -> None:
    bounds = Bounds(age_seconds=100.0, bytes=100_000)
    async with journal(tmp_path / "journal.sqlite", bounds) as now:
        for number in range(3_000):
            now.becomes(Path(("#", "consul", "dc1", f"service-{number}")), at(number % 250, number % 249))
        await now.after(10)
        await now.journal.prune()
        for _ in range(2):
            assert "more than the 100000 bytes" in str(await now.state(BEGAN))
        assert len(caplog.records) == 1
        now.time += 101
        now.known.clear()
        now.becomes(USERS, at(1))
        await now.after(10)
        assert known(await now.state(now.time - 5)) == known(at(1))
        assert "the journal begins at" in str(await now.state(BEGAN))


async def test_a_disk_that_can_not_be_written_to_is_told_once_and_leaves_a_gap(
    tmp_path: File, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    async with journal(folder / "journal.sqlite") as now:
        now.becomes(USERS, at(1))
        await now.after(10)
        await now.after(0)
        with caplog.at_level(logging.WARNING), held(folder / "journal.sqlite"):
            for turn in range(3):
                now.becomes(USERS, at(2 + turn))
                assert not await now.journal.flush()
                now.time += 10
            assert now.journal.failing is not None
            assert "can't be used" in str(await now.state(BEGAN))
        assert [record.message for record in caplog.records] == [
            "the journal can't be written; the past can't be explained"
        ]
        await now.after(10)
        assert now.journal.failing is None
        assert known(await now.state(BEGAN + 5)) == known(at(1))
        assert "the journal could not be written" in str(await now.state(BEGAN + 25))
        # What is there when it goes on is written as a whole.
        assert known(await now.state(now.time - 1)) == known(at(4))


@contextmanager
def held(file: File) -> Iterator[None]:
    """It can't be written to: somebody else holds it, and not for a moment only."""
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("begin immediate")
    try:
        yield
    finally:
        holder.execute("rollback")
        holder.close()


@pytest.mark.parametrize("place", ["start", "middle", "end"])
async def test_a_file_that_can_not_be_read_is_set_aside_and_a_new_one_begun(
    tmp_path: File, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "journal.sqlite"
    async with journal(file) as now:
        for number in range(500):
            now.becomes(Path(("#", "consul", "dc1", f"service-{number}")), at(number % 250))
        await now.after(10)
    raw = bytearray(file.read_bytes())
    where = {"start": 0, "middle": len(raw) // 2, "end": len(raw) - 4096}[place]
    raw[where : where + 4096] = os.urandom(4096)
    file.write_bytes(raw)
    with caplog.at_level(logging.WARNING):
        async with journal(file) as now:
            now.time = BEGAN + 100
            for number in range(500):
                now.becomes(Path(("#", "consul", "dc1", f"service-{number}")), at(number % 249))
            name = Path(("#", "consul", "dc1", "service-499"))
            for _ in range(5):  # The damage is found by whatever meets it: a write, a read, or forgetting what is old.
                now.time += 10
                await now.journal.flush()
                now.time += 10
                await now.journal.prune()
                found = known(await now.state(now.time - 5, name))
                if found == known(at(499 % 249)):
                    break
            else:
                pytest.fail(f"it does not remember again: {found}")
    if place == "start":
        assert "it is set aside" in caplog.text
        assert file.with_suffix(".unreadable").exists()


async def test_a_folder_that_is_not_there_yet_and_one_that_can_not_be(tmp_path: File) -> None:
    (tmp_path / "file").write_text("")
    broken = JournalFile(tmp_path / "file" / "journal.sqlite", 1)
    with pytest.raises(Unwritable):
        broken.begin(1.0, "")
    broken.end()
    fine = JournalFile(tmp_path / "new" / "journal.sqlite", 1)
    fine.begin(1.0, "")
    fine.end()
    with pytest.raises(Unwritable, match="ended"):
        fine.write(2.0, [Row("/a", 1.0, 1.0, "null")], [])


async def test_changes_are_written_by_themselves(tmp_path: File) -> None:
    async with journal(tmp_path / "journal.sqlite") as now:
        now.becomes(USERS, at(1))

        def written() -> bool:
            database = sqlite3.connect(tmp_path / "journal.sqlite")
            try:
                return bool(database.execute("select count(*) from change").fetchone()[0])
            except sqlite3.OperationalError:
                return False
            finally:
                database.close()

        await eventually(written, 10, "nothing is written")


ADDRS = st.one_of(
    st.just(Neg()),
    st.just(Bound()),
    st.builds(
        lambda ports, zone: bound(Endpoint("10.0.0.1", port, zone=zone, metadata=(("a", zone),)) for port in ports),
        st.sets(st.integers(1, 65535), max_size=4),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=4),
    ),
)
STATES = st.one_of(
    st.builds(Pending, st.none() | st.text()),
    st.builds(Failed, st.text()),
    st.builds(Known, ADDRS, st.just(3.0), st.just(9.0), st.none(), st.none() | ADDRS),
    st.builds(Known, ADDRS, st.just(3.0), st.just(3.0), st.text(), st.none() | ADDRS),
)


@given(STATES)
def test_a_state_is_read_as_it_was_written(state: State) -> None:
    text, since = past.write_state(state)
    assert past.read_state(text, since, 9.0) == state


@given(
    st.builds(
        Version,
        st.text(),
        st.integers(1),
        st.just(2.0),
        st.text(),
        st.text(),
        st.none() | st.builds(Content, st.text(), st.text()),
    )
)
def test_a_version_is_read_as_it_was_written(given: Version) -> None:
    assert past.read_version(past.write_version(given)) == given
