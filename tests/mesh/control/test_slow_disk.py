"""A control plane whose disk is slow over everything, or hangs: what needs no disk goes on, a change waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import WSMsgType

from scripts.running import ControlPlane, control, eventually, folder
from tests.control import PATIENCE, Stream
from tests.slow_disk import Disk, slow_disk

ONE = "/v1/namespaces/default"
TABLE = {"dtab": "/svc => /#/files", "yes": True}


@dataclass(frozen=True, slots=True)
class Served:
    running: ControlPlane
    session: aiohttp.ClientSession
    """Over its Unix socket."""

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.session.request(method, path, **more) as response:
            return response.status, await response.json()

    def name(self, name: str, port: int) -> None:
        fresh = self.running.folder / "disco" / f".{name}"
        fresh.write_text(f"127.0.0.1 {port}\n")
        fresh.rename(fresh.with_name(name))

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Stream]:
        async with self.session.ws_connect("/v1/agent", autoping=False) as stream:
            await stream.send_json({"type": "hello", "protocol": 1, "agent": "host7"})
            await heard(stream, "welcome")
            yield stream

    async def numbers(self) -> list[int]:
        """Of the versions in its history."""
        status, said = await self.ask("GET", f"{ONE}/history")
        assert status == 200
        return [each["version"] for each in said["versions"]]

    async def results(self) -> list[str]:
        """What came of the changes in its audit log."""
        status, said = await self.ask("GET", "/v1/audit")
        assert status == 200, said
        return [each["result"] for each in said["records"]]


async def heard(stream: Stream, *words: str) -> dict[str, Any]:
    """The next frame that has all of these words in it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message = await stream.receive()
            assert message.type in (WSMsgType.TEXT, WSMsgType.PONG), message
            if message.type is WSMsgType.TEXT and all(word in message.data for word in words):
                said: dict[str, Any] = json.loads(message.data)
                return said


async def answers_a_ping(stream: Stream) -> None:
    await stream.ping(b"?")
    async with asyncio.timeout(PATIENCE):
        while (await stream.receive()).type is not WSMsgType.PONG:
            pass


@contextmanager
def disks(*, takes: float = 0.0) -> Iterator[tuple[Path, Path, Disk]]:
    """A folder, another one that is on a disk, and that disk. `takes`: seconds for each operation."""
    with folder() as place, folder() as state, slow_disk(state, place) as disk:
        (place / "disco").mkdir()
        disk.takes(takes)
        yield place, state, disk


@asynccontextmanager
async def served(place: Path, state: Path) -> AsyncIterator[Served]:
    sources = [{"kind": "files", "folder": str(place / "disco"), "confirm_after": 0, "last_resort": 0}]
    with control(place, {"state_dir": str(state), "sources": sources}) as running:
        connector = aiohttp.UnixConnector(str(running.socket))
        async with aiohttp.ClientSession("http://control", connector=connector) as session:
            yield Served(running, session)


async def test_while_the_disk_hangs_agents_are_told_what_changes_and_a_change_of_the_table_is_answered_late() -> None:
    with disks() as (place, state, disk):
        async with served(place, state) as it, it.agent() as stream, asyncio.TaskGroup() as tasks:
            assert (await it.ask("PUT", ONE, json=TABLE))[0] == 200
            disk.sticks()
            late = tasks.create_task(it.ask("PUT", ONE, json={**TABLE, "dtab": "/svc => /#/other"}))
            await eventually(lambda: disk.waiting, PATIENCE, "nobody writes")
            for number in range(3):
                it.name("users", 1001 + number)
                if not number:
                    await stream.send_json({"type": "want", "names": {"/#/files/users": None}})
                await heard(stream, "observation", str(1001 + number))
                await answers_a_ping(stream)
            assert (await it.ask("GET", ONE))[1]["version"] == 1
            status, said = await it.ask("GET", "/api/1/bind/default?path=/svc/users")
            assert status == 200, said
            assert (await it.ask("GET", "/v1/agents"))[1]["agents"][0]["connected"]
            assert not late.done()
            disk.is_well()
            assert (await late)[0] == 200
            await heard(stream, '"table"', "/#/other")
            assert await it.numbers() == [2, 1]
            assert await it.results() == ["made", "made"]


async def test_who_reads_the_audit_log_while_the_disk_hangs_takes_nothing_from_others() -> None:
    with disks() as (place, state, disk):
        async with served(place, state) as it, asyncio.TaskGroup() as tasks:
            assert (await it.ask("PUT", ONE, json=TABLE))[0] == 200
            disk.sticks()
            readers = [tasks.create_task(it.ask("GET", "/v1/audit")) for _ in range(40)]
            await eventually(lambda: disk.waiting, PATIENCE, "nobody reads")
            async with asyncio.timeout(PATIENCE):
                status, said = await it.ask("POST", f"{ONE}/preview", json={"dtab": "/svc => /#/other"})
            assert status == 200, said
            assert not any(reader.done() for reader in readers)
            disk.is_well()
            assert {(await reader)[0] for reader in readers} == {200}


async def test_a_control_plane_that_is_killed_while_the_disk_hangs_has_what_it_had_answered() -> None:
    with disks() as (place, state, disk):
        async with served(place, state) as it:
            assert (await it.ask("PUT", ONE, json=TABLE))[0] == 200
            disk.sticks()
            async with asyncio.TaskGroup() as tasks:
                lost = tasks.create_task(refused(it))
                await eventually(lambda: disk.waiting, PATIENCE, "nobody writes")
                it.running.process.kill()
                assert await lost
        disk.is_well()
        async with served(place, state) as it:
            assert await it.numbers() == [1]
            assert await it.results() == ["made"]


async def refused(it: Served) -> bool:
    try:
        await it.ask("PUT", ONE, json={**TABLE, "dtab": "/svc => /#/other"})
    except aiohttp.ClientError:
        return True
    return False


async def test_on_a_slow_disk_every_change_that_is_answered_is_kept() -> None:
    with disks(takes=0.02) as (place, state, disk):
        async with served(place, state) as it, it.agent() as stream:
            for number in range(1, 6):
                status, said = await it.ask("PUT", ONE, json={**TABLE, "dtab": f"/svc => /#/v{number}"})
                assert (status, said["version"]) == (200, number)
                await heard(stream, '"table"', f"/#/v{number}")
            it.running.process.kill()
        disk.is_well()
        async with served(place, state) as it:
            assert await it.numbers() == [5, 4, 3, 2, 1]
            assert await it.results() == ["made"] * 5
