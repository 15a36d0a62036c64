"""Whatever a control plane says, and whatever stands in the snapshot's file, the agent serves what it knows."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path as File

import pytest
from aiohttp import WSMsgType, web
from hypothesis import strategies as st

from discovery.remote.frames import Refused, Same, from_control
from discovery.remote.reading import BadFrame, path
from mesh.agent import snapshot_file
from mesh.agent.snapshot_file import Restored, SnapshotFile
from scripts.running import service
from tests.fuzzing import JSON, TEXTS, Rounds, frames_of
from tests.in_process import InProcess, in_process
from tests.mesh.agent.test_in_force import answer
from tests.mesh.agent.test_snapshot import _contents
from tests.mesh.control.test_fuzz import bugs
from tests.recording import Frame, listening

INPUTS, FILES = 30, 100
"""Of several frames each; and snapshots."""
OURS, THEIRS = "/#/files", "/#/shared"
TABLE = f"/svc => {OURS} ; /svc/fleet => {THEIRS}/users"
SHARED = {"prefix": THEIRS, "kind": "files", "segments": 1}
SOURCES: Frame = {"type": "sources", "hash": "good", "sources": [SHARED]}
SAID = st.lists(frames_of("control").map(lambda frame: json.dumps(frame).replace(OURS, THEIRS)), min_size=1, max_size=6)


@dataclass(slots=True)
class Puppet:
    """A control plane that says what it is told to."""

    number: int = 0
    socket: web.WebSocketResponse | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert json.loads(await socket.receive_str())["type"] == "hello"
        await socket.send_json({"type": "welcome", "protocol": 1})
        self.socket = socket
        self.connections += 1
        self.connected.set()
        async for message in socket:
            assert message.type is WSMsgType.TEXT
        return socket

    async def say(self, text: str) -> None:
        assert self.socket is not None
        await self.socket.send_str(text)

    async def good_table(self) -> int:
        self.number += 1
        table = {"type": "table", "namespace": "default", "version": self.number, "at": -1.0, "dtab": TABLE}
        await self.say(json.dumps(SOURCES))
        await self.say(json.dumps(table))
        return self.number


@asynccontextmanager
async def begun() -> AsyncIterator[tuple[Puppet, InProcess]]:
    puppet = Puppet()
    async with service("users") as port, listening(puppet.stream) as url, in_process(control={"url": url}) as it:
        it.put("users", port)
        await puppet.connected.wait()
        yield puppet, it


async def is_served(puppet: Puppet, it: InProcess, given: list[str]) -> None:
    """After a good table, which takes the place of what was said before: so all of it was taken."""
    for text in filter(_is_taken, given):
        await puppet.say(text)
    number = await puppet.good_table()
    async with asyncio.timeout(20):
        while (fleet := it.brain.in_force.applied.fleet) is None or (fleet.number, fleet.at) != (number, -1.0):
            await it.heard.wait()
            it.heard.clear()
        assert await answer(it, "users") == (200, "users")
        await answer(it, "fleet")
    assert puppet.connections == 1


def _is_taken(text: str) -> bool:
    """What can't be read, or is a refusal, ends the stream: of that there is a test of its own."""
    try:
        frame = from_control(text)
        if isinstance(frame, Same):
            [path(name, "names") for name in frame.names]
    except BadFrame:
        return False
    return not isinstance(frame, Refused)


def fuzz_agent(rounds: Rounds) -> int:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        puppet, it = runner.run(stack.enter_async_context(begun()))
        try:
            return rounds.of(SAID, lambda given: runner.run(is_served(puppet, it, given)))
        finally:
            runner.run(stack.aclose())


def test_whatever_a_control_plane_says_the_agent_serves(caplog: pytest.LogCaptureFixture) -> None:
    assert fuzz_agent(Rounds(INPUTS)) >= INPUTS
    told = "a table can't be used, the last good one stays in force"
    assert [bug for bug in bugs(caplog) if bug != told] == []


# The snapshot


ROWS = st.one_of(
    st.tuples(st.just("observation"), st.tuples(TEXTS, JSON.map(json.dumps) | TEXTS, st.floats())),
    st.tuples(st.just("name"), st.tuples(TEXTS, TEXTS, st.integers(-(2**63), 2**63 - 1))),
    st.tuples(st.just("fleet"), st.tuples(st.sampled_from(("table", "sources", "x")), JSON.map(json.dumps) | TEXTS)),
)
FLIPS = st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=8)
DAMAGES = st.tuples(st.just("rows"), st.lists(ROWS, min_size=1, max_size=3)) | st.tuples(st.just("flips"), FLIPS)


def is_read_or_set_aside(whole: bytes, damage: tuple[str, list[tuple[object, object]]]) -> None:
    """As what was written, or not at all; rows that have the right checksum may say whatever they like."""
    kind, changes = damage
    with tempfile.TemporaryDirectory() as folder:
        file = File(folder) / "s.sqlite"
        content = bytearray(whole)
        if kind == "flips":
            for at, mask in changes:
                content[int(str(at)) % len(content)] ^= int(str(mask))
        file.write_bytes(content)
        if kind == "rows":
            _insert(file, changes)
        it = SnapshotFile(file)
        restored = it.read(50.0)
        it.close()
        assert file.with_suffix(".unreadable").exists() or restored.names
        if (table := restored.fleet.table) is not None:
            assert (type(table.number), type(table.at), type(table.namespace)) == (int, float, str)
            assert table.content is None or type(table.content.dtab) is str
        assert kind == "rows" or restored.names.keys() <= {("http", f"n{number}") for number in range(60)}


INSERT = {
    "observation": "insert or replace into observation values (?, ?, ?, ?)",
    "name": "insert or replace into name values (?, ?, ?, ?)",
    "fleet": "insert or replace into fleet values (?, ?, ?)",
}


def _insert(file: File, rows: list[tuple[object, object]]) -> None:
    """With the checksum that goes with each, so that what reads it is all that is between it and the brain."""
    with sqlite3.connect(file) as database:
        for table, row in rows:
            assert isinstance(row, tuple)
            with suppress(
                sqlite3.IntegrityError, UnicodeEncodeError
            ):  # A NaN is null to SQLite, half a letter no text.
                database.execute(INSERT[str(table)], (*row, snapshot_file._hash(*row)))
    database.close()


def fuzz_snapshot(rounds: Rounds) -> int:
    with tempfile.TemporaryDirectory() as folder:
        writer = SnapshotFile(File(folder) / "s.sqlite")
        writer.write(_contents())
        writer.close()
        whole = writer.file.read_bytes()
    return rounds.of(DAMAGES, lambda damage: is_read_or_set_aside(whole, damage))


TABLES = ["null", "[]", "{}", '{"namespace":"default","number":"7","at":1,"who":"","why":"","content":null}']


@pytest.mark.parametrize("said", TABLES)
def test_a_table_on_disk_that_is_none_is_set_aside(said: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        it = SnapshotFile(File(folder) / "s.sqlite")
        it.read(0.0)
        it.close()
        _insert(it.file, [("fleet", ("table", said))])
        assert it.read(0.0).fleet.table is None
        it.close()
        assert it.file.with_suffix(".unreadable").exists()


def test_a_header_that_only_a_later_sqlite_may_write_to_is_damage_and_not_a_read_only_disk() -> None:
    with tempfile.TemporaryDirectory() as folder:
        it = SnapshotFile(File(folder) / "s.sqlite")
        it.write(_contents())
        it.close()
        content = bytearray(it.file.read_bytes())
        content[18] = 3
        it.file.write_bytes(content)
        assert it.read(50.0) == Restored()
        it.write(_contents())
        assert len(it.read(50.0).names) == 60
        it.close()


def test_a_snapshot_that_lost_what_was_written_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        is_read_or_set_aside(b"", ("flips", []))


def test_whatever_stands_in_the_snapshot_is_read_or_set_aside() -> None:
    assert fuzz_snapshot(Rounds(FILES)) >= FILES
