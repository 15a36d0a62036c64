"""The snapshot on a real disk: what is written comes back, whatever happened to the process, the file or the disk."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path as File

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discovery.address import Addr, Endpoint, Failed, Health, Known, Neg, Pending, Protocol, bound
from discovery.path import Path
from mesh.agent import snapshot_file
from mesh.agent.snapshot import Snapshot
from mesh.agent.snapshot_file import Restored, SnapshotFile, Unwritable
from mesh.agent.snapshot_rows import Fleet, decode, encode
from mesh.control.version import Content, Version
from scripts.running import eventually, service
from tests.binding import at
from tests.host import PATIENCE, host
from tests.manual import ROOT

USERS = Path.parse("/#/consul/dc1/users")
TABLE = Version("default", 7, 1.5, "ann", "because", Content("/svc => /one # é", "[]"))
LIVES = {"rich": Endpoint("10.0.0.1", 80, 2.5, "eu", Health.DRAINING, "node", Protocol.GRPC, "id", (("k", "v"),))}


@asynccontextmanager
async def keeping(file: File) -> AsyncIterator[Snapshot]:
    snapshot = Snapshot(file, retry_seconds=0.01)
    snapshot.load(0.0)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(snapshot.keep())
        # A task that is cancelled before its first step keeps nothing.
        await asyncio.sleep(0)
        yield snapshot
        task.cancel()


def loaded(file: File, now: float = 100.0) -> Restored:
    return Snapshot(file).load(now)


async def _written(snapshot: Snapshot) -> None:
    await eventually(lambda: snapshot.written_at is not None, 10, "nothing is written")


async def test_what_was_known_comes_back_held_and_with_its_age(tmp_path: File) -> None:
    addr = bound(LIVES.values())
    async with keeping(tmp_path / "s.sqlite") as snapshot:
        snapshot.observed(USERS, Known(addr, since=7.0, confirmed_at=9.0))
        snapshot.observed(Path(("gone",)), Known(Neg(), since=8.0, confirmed_at=9.0))
        snapshot.named(("http", "users"), kept=True)
        await _written(snapshot)
    restored = loaded(tmp_path / "s.sqlite")
    assert restored.names == {("http", "users"): False}
    assert restored.observations[USERS].addr == addr
    assert restored.observations[USERS].since == 7.0
    assert restored.observations[USERS].held
    assert restored.observations[Path(("gone",))].addr == Neg()


async def test_what_changed_just_before_the_end_is_written(tmp_path: File) -> None:
    async with keeping(tmp_path / "s.sqlite") as snapshot:
        snapshot.observed(USERS, Known(at(80), 1.0, 1.0))
        snapshot.named(("http", "users"), kept=True)
    assert loaded(tmp_path / "s.sqlite").names == {("http", "users"): False}


async def test_what_we_do_not_know_is_no_reason_to_forget_what_we_knew(tmp_path: File) -> None:
    for state in (Known(at(80), 1.0, 1.0), Pending(), Failed("no answer")):
        async with keeping(tmp_path / "s.sqlite") as snapshot:
            snapshot.observed(USERS, state)
    assert loaded(tmp_path / "s.sqlite").observations[USERS].addr == at(80)


async def test_what_nobody_wants_any_more_is_forgotten(tmp_path: File) -> None:
    async with keeping(tmp_path / "s.sqlite") as snapshot:
        snapshot.observed(USERS, Known(at(80), 1.0, 1.0))
        snapshot.named(("http", "users"), kept=True)
        await _written(snapshot)
        snapshot.observed(USERS, None)
        snapshot.named(("http", "users"), kept=False)
    assert loaded(tmp_path / "s.sqlite") == Restored()


async def test_what_the_control_plane_said_last_comes_back(tmp_path: File) -> None:
    async with keeping(tmp_path / "s.sqlite") as snapshot:
        snapshot.table(TABLE)
        snapshot.sources("[1]")
    assert loaded(tmp_path / "s.sqlite").fleet == Fleet(TABLE, "[1]")
    deleted = Version("default", 8, 2.0, "ann", "", None)
    async with keeping(tmp_path / "s.sqlite") as snapshot:
        snapshot.table(deleted)
    assert loaded(tmp_path / "s.sqlite").fleet == Fleet(deleted, "[1]")


async def test_what_is_cancelled_in_the_middle_of_a_write_loses_nothing(tmp_path: File) -> None:
    """A write under way goes on in its thread while the last one begins."""
    file = tmp_path / "s.sqlite"
    for round_ in range(5):
        async with keeping(file) as snapshot:
            for number in range(20_000):
                snapshot.named(("http", f"{round_}-{number}"), kept=True)
            await asyncio.sleep(0)
            log = file.with_name("s.sqlite-wal")
            size = log.stat().st_size
            await eventually(lambda log=log, size=size: log.stat().st_size > size, 10, "no write", 0.0005)  # type: ignore[misc]
            snapshot.named(("http", f"{round_}-last"), kept=True)
        assert len(loaded(file).names) == (round_ + 1) * 20_001


endpoints = st.builds(
    Endpoint,
    address=st.sampled_from(("10.0.0.1", "10.0.0.2", "::1")),
    port=st.integers(1, 65535),
    weight=st.floats(0, 1e9),
    zone=st.text(st.characters(codec="utf-8"), max_size=5),
    health=st.sampled_from(Health),
    host=st.text(max_size=5),
    protocol=st.none() | st.sampled_from(Protocol),
    identity=st.text(max_size=5),
    metadata=st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3).map(tuple),
)


@given(st.just(Neg()) | st.lists(endpoints, max_size=5).map(bound))
def test_every_address_survives_the_disk(addr: Addr) -> None:
    assert decode(encode(addr)) == addr


def _foreign(file: File) -> None:
    with sqlite3.connect(file) as database:
        database.execute("pragma user_version = 99")
    database.close()


def _with_row(file: File, path: object, addr: object) -> None:
    """With the hash that goes with it, so that what reads it is all that is between it and the brain."""
    snapshot = Snapshot(file)
    snapshot.load(0.0)
    row = (path, addr, 1.0)
    with sqlite3.connect(file) as database:
        database.execute("insert into observation values (?, ?, ?, ?)", (*row, snapshot_file._hash(*row)))
    database.close()


def _half(file: File) -> None:
    _with_row(file, "/a", encode(at(*range(1, 2000))))
    with sqlite3.connect(file) as database:
        database.execute("pragma wal_checkpoint(truncate)")
    database.close()
    data = bytearray(file.read_bytes())
    data[4096 : len(data) // 2] = os.urandom(len(data) // 2 - 4096)
    file.write_bytes(data[: len(data) // 2])


BAD: dict[str, Callable[[File], object]] = {
    "random bytes": lambda file: file.write_bytes(os.urandom(100_000)),
    "text": lambda file: file.write_text("not a database\n" * 1000),
    "another version": _foreign,
    "half a file": _half,
    "another table": lambda file: _sql(file, "create table observation (x)"),
    "no path": lambda file: _with_row(file, "no path", "null"),
    "no json": lambda file: _with_row(file, "/a", "{"),
    "another shape": lambda file: _with_row(file, "/a", '{"a": 1}'),
    "a row of another length": lambda file: _with_row(file, "/a", '[["10.0.0.1", 80]]'),
    "a number for a list": lambda file: _with_row(file, "/a", "7"),
    "an unknown health": lambda file: _with_row(file, "/a", '[["10.0.0.1",80,1,"","splendid","",null,"",[]]]'),
    "metadata of no pairs": lambda file: _with_row(file, "/a", '[["10.0.0.1",80,1,"","unknown","",null,"",[7]]]'),
    "bytes for text": lambda file: _with_row(file, b"/\xff\xfe", b"\xff"),
    "text that is none": lambda file: _after_row(file, "update observation set addr = cast(x'ff22' as text)"),
    "another address": lambda file: _after_row(file, "update observation set addr = replace(addr, '.1', '.2')"),
    "another name": lambda file: _after_row(file, "update observation set path = '/b'"),
    "another time": lambda file: _after_row(file, "update observation set since = 2.0"),
    "no hash": lambda file: _after_row(file, "update observation set hash = x''"),
    "another table of the fleet": lambda file: _after_row(file, "update fleet set said = replace(said, 'one', 'two')"),
}


def _after_row(file: File, statement: str) -> None:
    _with_row(file, "/a", encode(at(80)))
    written = SnapshotFile(file)
    written.write(snapshot_file.Changes(fleet=Fleet(TABLE, "[]")))
    written.close()
    _sql(file, statement)


def _sql(file: File, statement: str) -> None:
    with sqlite3.connect(file) as database:
        database.execute(statement)
    database.close()


@pytest.mark.parametrize("damage", BAD)
async def test_an_unreadable_file_is_set_aside_and_a_new_one_begun(
    tmp_path: File, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "s.sqlite"
    BAD[damage](file)
    async with keeping(file) as snapshot:
        assert not caplog.records or "set aside" in caplog.text
        snapshot.named(("http", "users"), kept=True)
    assert (tmp_path / "s.unreadable").exists()
    assert len(caplog.records) == 1
    assert loaded(file).names == {("http", "users"): False}


def _contents() -> snapshot_file.Changes:
    observations = {
        Path(("#", "x", f"n{number}")): Known(bound([Endpoint("10.0.0.1", 1000 + number)]), 5.0, 5.0)
        for number in range(60)
    }
    observations[USERS] = Known(bound(LIVES.values()), 7.0, 9.0)
    observations[Path(("gone",))] = Known(Neg(), 8.0, 9.0)
    names = {("http", f"n{number}"): bool(number % 2) for number in range(60)}
    return snapshot_file.Changes({**observations}, {**names}, Fleet(TABLE, '[{"prefix":"/#/consul"}]'))


def _is_part(restored: Restored, whole: Restored) -> bool:
    """Nothing is there that was not written."""
    told = restored.observations.items() <= whole.observations.items() and restored.names.items() <= whole.names.items()
    return told and restored.fleet.table in (None, TABLE) and restored.fleet.sources in (None, whole.fleet.sources)


@pytest.mark.parametrize("log", ["checkpointed", "in the log"])
def test_no_flipped_byte_crashes_or_is_believed(tmp_path: File, log: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every 23rd byte of the file and its log, and all of their headers."""
    kept = tmp_path / "kept"
    kept.mkdir()
    writer = SnapshotFile(kept / "s.sqlite")
    writer.write(_contents())
    whole = writer.read(50.0)
    if log == "checkpointed":
        writer.close()
    files = {name: (kept / name).read_bytes() for name in ("s.sqlite", "s.sqlite-wal") if (kept / name).exists()}
    writer.close()
    place, dice = tmp_path / "flipped", random.Random(7)
    damaged = 0
    for name, content in files.items():
        for offset in (*range(100), *range(100, len(content), 23)):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for each, bytes_ in files.items():
                (place / each).write_bytes(bytes_)
            flipped = bytearray(content)
            flipped[offset] ^= 1 << dice.randrange(8)
            (place / name).write_bytes(flipped)
            caplog.clear()
            it = SnapshotFile(place / "s.sqlite")
            restored = it.read(50.0)
            it.close()
            assert _is_part(restored, whole), (name, offset)
            # What a broken log loses is what was written last: the database is as it was before.
            if restored != whole and name == "s.sqlite":
                damaged += 1
                (line,) = caplog.messages
                assert "set aside" in line, (offset, line)
    assert damaged > 100 or log == "in the log"


@given(length=st.integers(0, 100_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_a_file_that_ends_early_is_set_aside_or_new(tmp_path: File, length: int) -> None:
    file = tmp_path / f"{length}.sqlite"
    writer = SnapshotFile(file)
    writer.write(_contents())
    writer.close()
    file.write_bytes(file.read_bytes()[:length])
    it = SnapshotFile(file)
    restored = it.read(50.0)
    it.close()
    whole = len(restored.names) == 60
    assert whole or restored == Restored()
    # A file of a single byte is an empty one to SQLite.
    assert whole or length <= 1 or file.with_suffix(".unreadable").exists()


async def test_an_empty_file_is_a_new_one(tmp_path: File) -> None:
    (tmp_path / "s.sqlite").touch()
    async with keeping(tmp_path / "s.sqlite") as snapshot:
        snapshot.named(("http", "users"), kept=True)
    assert loaded(tmp_path / "s.sqlite").names == {("http", "users"): False}


WRITER = """
import asyncio, sys
from pathlib import Path as File
from discovery.address import Endpoint, Known, bound
from discovery.path import Path
from mesh.agent import snapshot

snapshot.PAUSE_SECONDS = 0.0

async def main():
    kept = snapshot.Snapshot(File(sys.argv[1]))
    kept.load(0.0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kept.keep())
        for number in range(1_000_000):
            for name in range(20):
                ports = range(1 + number % 60_000, 4 + number % 60_000)
                addr = bound(Endpoint("10.0.0.1", port) for port in ports)
                kept.observed(Path(("n", str(name))), Known(addr, float(number), 0.0))
                kept.named(("http", f"n{name}"), kept=True)
            if number == 50:
                print("writing", flush=True)
            await asyncio.sleep(0.001)

asyncio.run(main())
"""


def test_it_survives_being_killed_at_any_moment(tmp_path: File) -> None:
    file, dice = tmp_path / "s.sqlite", random.Random(1)
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            writer.stdout.close()
            time.sleep(dice.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
        restored = loaded(file)
        assert len(restored.names) == len(restored.observations) == 20
        # One write holds all twenty as they were together.
        (since,) = {known.since for known in restored.observations.values()}
        ports = range(1 + int(since) % 60_000, 4 + int(since) % 60_000)
        addr = bound(Endpoint("10.0.0.1", port) for port in ports)
        assert {known.addr for known in restored.observations.values()} == {addr}


def _killed_while_it_held(file: File) -> None:
    """Its log is not in the database yet, as after a SIGKILL."""
    code = (
        "import os, sys; from pathlib import Path as File; from tests.mesh.agent.test_snapshot import _contents;"
        "from mesh.agent.snapshot_file import SnapshotFile;"
        "SnapshotFile(File(sys.argv[1])).write(_contents()); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=False, cwd=ROOT)


def _read_only(disk: File) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@pytest.mark.parametrize("damage", ["full", "read-only"])
def test_what_is_on_a_disk_that_takes_nothing_any_more_is_read_all_the_same(tiny_disk: File, damage: str) -> None:
    file = tiny_disk / "s.sqlite"
    _killed_while_it_held(file)
    if damage == "full":
        _fill(tiny_disk)
    else:
        _read_only(tiny_disk)
    it = SnapshotFile(file)
    try:
        restored = it.read(50.0)
    except Unwritable as error:
        restored = error.restored
    it.close()
    assert len(restored.names) == 60
    assert restored.fleet.table == TABLE


async def test_a_locked_database_holds_nothing_up_and_status_says_so(tmp_path: File) -> None:
    file = tmp_path / "s.sqlite"
    async with keeping(file) as snapshot:
        snapshot.named(("http", "first"), kept=True)
        await _written(snapshot)
        with sqlite3.connect(file, isolation_level=None) as other:
            other.execute("begin immediate")
            snapshot.named(("http", "second"), kept=True)
            await eventually(lambda: snapshot.status()["writing_seconds"] is not None, 10, "no write", 0)
            await eventually(lambda: snapshot.status()["error"] == "database is locked", 10, "the lock is not told of")
            other.execute("rollback")
        other.close()
        await eventually(lambda: snapshot.status()["error"] is None, 10, "the end of the lock is not noticed")
    assert loaded(file).names == {("http", "first"): False, ("http", "second"): False}


@pytest.fixture
def tiny_disk(tmp_path: File) -> Iterator[File]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be made here: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(disk: File) -> File:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return filler


async def test_a_full_disk_is_told_once_and_written_to_when_there_is_room_again(
    tiny_disk: File, caplog: pytest.LogCaptureFixture
) -> None:
    async with keeping(tiny_disk / "s.sqlite") as snapshot:
        filler = _fill(tiny_disk)
        for number in range(2000):
            snapshot.named(("http", f"name-{number}"), kept=True)
        await eventually(lambda: "could not be written" in caplog.text, 10, "the full disk is not told of")
        snapshot.named(("http", "late"), kept=True)
        for _ in range(10):
            await asyncio.sleep(0.05)
        told = [record for record in caplog.records if record.levelname == "WARNING"]
        assert len(told) == 1
        filler.unlink()
        await _written(snapshot)
    assert len(loaded(tiny_disk / "s.sqlite").names) == 2001


async def test_a_disk_that_was_full_at_the_start_is_written_to_when_there_is_room(tiny_disk: File) -> None:
    filler = _fill(tiny_disk)
    async with keeping(tiny_disk / "s.sqlite") as snapshot:
        snapshot.named(("http", "users"), kept=True)
        await asyncio.sleep(0.05)
        filler.unlink()
        await _written(snapshot)
    assert loaded(tiny_disk / "s.sqlite").names == {("http", "users"): False}


def _a_full_disk(tiny_disk: File) -> None:
    _fill(tiny_disk)


def _a_file(disk: File) -> None:
    (disk / "state").write_text("a file")


def _a_folder(disk: File) -> None:
    (disk / "state" / "snapshot.sqlite").mkdir(parents=True)


@pytest.mark.parametrize("damage", [_a_full_disk, _a_file, _a_folder], ids=lambda each: each.__name__.strip("_"))
async def test_an_agent_starts_and_serves_although_it_can_remember_nothing(
    tiny_disk: File, damage: Callable[[File], None]
) -> None:
    damage(tiny_disk)
    async with host(state_dir=str(tiny_disk / "state")) as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        assert str(tiny_disk / "state") in started.agent.log.read_text()


async def test_an_agent_with_a_damaged_snapshot_starts_says_so_and_serves() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        state = started.agent.folder / "state"
        old = started.agent.children()["brain"]
        os.kill(old, signal.SIGSTOP)
        for file in state.iterdir():
            file.write_bytes(os.urandom(10_000))
        os.kill(old, signal.SIGKILL)
        await eventually(lambda: started.agent.children().get("brain") not in (None, old), PATIENCE, "no new brain")
        await started.agent.until_ready()
        assert (await started.call("users")).body == "users"
        assert "set aside" in started.agent.log.read_text()
        assert (state / "snapshot.unreadable").exists()
