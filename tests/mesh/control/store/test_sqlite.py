"""The contract on a real file, and what only a file can suffer."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path as File

import pytest

from mesh.control.store.protocol import Conflict, Refused, Unavailable
from mesh.control.store.sqlite import SqliteStore
from mesh.control.store.sqlite_file import APPLICATION, SCHEMA, VersionFile
from tests.manual import ROOT
from tests.mesh.control.store.contract import GONE, StoreContract, World, table, watching
from tests.mesh.control.store.worlds import FileWorld


class TestSqliteContract(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: File) -> None:
        self.folder = tmp_path

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        yield FileWorld(self.folder / "deep" / "control.sqlite")


@pytest.fixture
def file(tmp_path: File) -> File:
    return tmp_path / "control.sqlite"


def _in_another_process(file: File, rest: str) -> subprocess.Popen[str]:
    """Puts one change, says its number, and then does `rest`."""
    program = f"""
import asyncio, os, signal, sys
from pathlib import Path
from mesh.control.store.sqlite import SqliteStore
from mesh.control.version import Change, Content

async def main():
    async with SqliteStore(Path(sys.argv[1])) as store:
        version = await store.put("default", Change(Content("/svc => /#/files"), "another process"), "any")
        print(version.number, flush=True)
        {rest}

asyncio.run(main())
"""
    return subprocess.Popen([sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE, text=True, cwd=ROOT)


async def test_what_was_put_is_there_when_the_process_is_killed_the_moment_it_says_so(file: File) -> None:
    for number in (1, 2, 3):
        with _in_another_process(file, "os.kill(os.getpid(), signal.SIGKILL)") as killed:
            said, _ = await asyncio.to_thread(killed.communicate)
        assert killed.returncode == -signal.SIGKILL
        assert said.strip() == str(number)
        async with SqliteStore(file) as store:
            found = await store.get("default")
            assert found is not None
            assert (found.number, found.who) == (number, "another process")


async def test_several_that_make_one_file_at_once_all_write_to_it(tmp_path: File) -> None:
    for place in range(30):
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            file = tmp_path / str(place) / "control.sqlite"
            stores = [await stack.enter_async_context(SqliteStore(file)) for _ in range(6)]
            tasks = [group.create_task(store.put("default", table("a"), "any")) for store in stores]
        assert sorted(task.result().number for task in tasks) == [1, 2, 3, 4, 5, 6]


async def test_a_process_that_is_killed_while_it_writes_leaves_whole_versions(file: File) -> None:
    many = "while True: print((await store.put('default', Change(Content('x' * 99999), ''), 'any')).number, flush=True)"
    with _in_another_process(file, many) as writer:
        assert writer.stdout is not None
        for _ in range(20):
            await asyncio.to_thread(writer.stdout.readline)
        writer.kill()
        said = [int(line) for line in writer.stdout.read().split()]
    async with SqliteStore(file) as store:
        found = await store.get("default")
        assert found is not None
        assert found.number >= max(said, default=20)
        history = await store.history("default", limit=10_000)
        assert [version.number for version in history] == list(range(found.number, 0, -1))


async def test_a_commit_is_synced_to_the_disk(file: File) -> None:
    """No test here can cut the power: this is what SQLite is told."""
    versions = VersionFile(file)
    versions.current()
    assert versions._database is not None
    assert versions._database.execute("pragma synchronous").fetchone() == (2,)
    assert versions._database.execute("pragma journal_mode").fetchone() == (b"wal",)
    versions.close()


async def test_a_change_by_another_process_is_heard_of(file: File) -> None:
    async with SqliteStore(file) as store, watching(store) as watcher:
        for number in (1, 2):
            with _in_another_process(file, "") as writer:
                await watcher.until(lambda self, number=number: number in self.numbers("default"), f"number {number}")
                assert await asyncio.to_thread(writer.wait) == 0


async def test_two_processes_that_write_at_once_lose_nothing(file: File) -> None:
    many = "for _ in range(49): await store.put('default', Change(Content('x'), ''), 'any')"
    async with SqliteStore(file) as store, watching(store) as watcher:
        with _in_another_process(file, many) as first, _in_another_process(file, many) as second:
            for _ in range(50):
                await store.put("default", table("a"), "any")
            for writer in (first, second):
                await asyncio.to_thread(writer.communicate)
                assert writer.returncode == 0
        await watcher.until(lambda self: 150 in self.numbers("default"), "all changes")
        numbers = watcher.numbers("default")
        assert numbers == sorted(set(numbers))


async def test_a_change_is_heard_of_although_its_commit_takes_long(file: File) -> None:
    """inotify tells of it before it can be read."""
    async with SqliteStore(file) as store, watching(store) as watcher:
        await store.put("default", table("a"), "any")
        await watcher.until(lambda self: self.numbers("default") == [1], "version 1")
        with closing(sqlite3.connect(file, isolation_level=None)) as slow:
            # A cache that small spills into the log what is not committed yet: that is what inotify tells of.
            slow.execute("pragma cache_size = 1")
            slow.execute("begin immediate")
            slow.execute("insert into version values (null, 'default', 2, 1.0, 'slow', '', ?, '')", ("x" * 3_000_000,))
            assert (file.parent / "control.sqlite-wal").stat().st_size > 1_000_000
            await asyncio.sleep(0.3)  # as long as the watch takes to look: nothing tells when it has
            assert watcher.numbers("default") == [1]
            slow.execute("commit")
        await watcher.until(lambda self: self.numbers("default") == [1, 2], "version 2")


async def test_versions_are_neither_changed_nor_removed_by_whomever(file: File) -> None:
    async with SqliteStore(file) as store:
        await store.put("default", table("a"), "any")
        with closing(sqlite3.connect(file)) as database:
            for statement in ("update version set dtab = ''", "delete from version"):
                with pytest.raises(sqlite3.IntegrityError, match="a version is never"):
                    database.execute(statement)


def _of_a_later_schema(file: File) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.executescript(f"pragma application_id = {APPLICATION}; pragma user_version = {SCHEMA + 1};")


def _of_another_program(file: File) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.executescript("create table notes (text); insert into notes values ('mine');")


def _no_database(file: File) -> None:
    file.write_text("dear diary, " * 500)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_of_a_later_schema, "schema 2, not 1"),
        (_of_another_program, "another program's"),
        (_no_database, "no SQLite file"),
    ],
)
async def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(file: File, make: object, reason: str) -> None:
    assert callable(make)
    make(file)
    before = file.read_bytes()
    async with SqliteStore(file) as store:
        for asked in (store.current(), store.get("default"), store.put("default", table("a"), "any")):
            with pytest.raises(Refused, match=reason) as raised:
                await asked
            assert str(file) in str(raised.value)
            assert "left as it is" in str(raised.value)
    assert file.read_bytes() == before


async def test_a_file_that_another_process_has_locked_is_unavailable(file: File) -> None:
    async with SqliteStore(file, busy_seconds=0.1) as store:
        first = await store.put("default", table("a"), "any")
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("begin immediate")
            with pytest.raises(Unavailable, match="another process has locked it"):
                await store.put("default", table("b"), "any")
            assert await store.get("default") == first
        assert (await store.put("default", table("b"), "any")).number == 2


@pytest.fixture
def disk(tmp_path: File) -> Iterator[File]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be made here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(filler: File) -> None:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


async def test_a_full_disk_takes_no_change_and_goes_on_when_there_is_room(disk: File) -> None:
    async with SqliteStore(disk / "s") as store:
        first = await store.put("default", table("a"), "any")
        filler = disk / "filler"
        _fill(filler)
        with pytest.raises(Unavailable, match="the disk is full; nothing was changed"):
            await store.put("default", table("x" * 100_000), "any")
        assert await store.get("default") == first
        filler.unlink()
        assert (await store.put("default", table("b"), 1)).number == 2


async def test_a_disk_that_cannot_be_written_to_is_refused(disk: File) -> None:
    async with SqliteStore(disk / "s") as store:
        await store.put("default", table("a"), "any")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    async with SqliteStore(disk / "s") as store:
        with pytest.raises(Refused, match="can't be written to"):
            await store.put("default", table("b"), "any")


async def test_a_place_where_no_file_can_be_is_unavailable(tmp_path: File) -> None:
    (tmp_path / "file").write_text("")
    async with SqliteStore(tmp_path / "file" / "control.sqlite") as store:
        with pytest.raises(Unavailable, match=r"control\.sqlite"):
            await store.put("default", table("a"), "any")
        async with watching(store) as watcher:
            assert "control.sqlite" in str(await watcher.ends())


async def test_a_file_that_is_removed_under_way_is_told_and_not_begun_anew(file: File) -> None:
    async with SqliteStore(file) as store:
        first = await store.put("default", table("a"), "any")
        async with watching(store) as watcher:
            kept = [each for each in file.parent.iterdir() if each.name.startswith(file.name)]
            aside = file.parent / "aside"
            aside.mkdir()
            for each in kept:
                os.link(each, aside / each.name)
                each.unlink()
            assert isinstance(await watcher.ends(), Unavailable)
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"removed|gone"):
                await store.put("default", table("b"), "any")
        assert not file.exists()
        for each in aside.iterdir():
            each.rename(file.parent / each.name)
        assert await store.get("default") == first
        assert (await store.put("default", table("b"), 1)).number == 2


async def test_a_put_that_is_cancelled_leaves_the_store_in_order(file: File) -> None:
    async with SqliteStore(file) as store:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.put("default", GONE, "any")) for _ in range(10)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
        history = await store.history("default")
        assert [version.number for version in history] == list(range(len(history), 0, -1))
        assert len(history) >= 5
        with pytest.raises(Conflict):
            await store.put("default", table("a"), 99)
