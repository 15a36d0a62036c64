"""An agent whose disk takes its time over everything, or for ever: nothing but the snapshot waits for it."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from demo.calls import load
from mesh.agent.brain import LOAD_SECONDS
from scripts.running import eventually, folder, service
from tests.host import PATIENCE, Host, host
from tests.slow_disk import Disk, slow_disk


@asynccontextmanager
async def on_disk(*, takes: float = 0.0) -> AsyncIterator[tuple[Host, Disk, Path]]:
    """A host whose snapshot is on it, and the snapshot. `takes`: seconds for each operation, from the start on."""
    with folder() as beside, folder() as state, slow_disk(state, beside) as disk:
        disk.takes(takes)
        async with host(state_dir=str(state)) as started:
            yield started, disk, state / "snapshot.sqlite"


async def until_on_disk(file: Path, *names: str) -> None:
    """Read as one who takes no lock that a slow writer would wait for."""

    def written() -> bool:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as found:
            return {name for (name,) in found.execute("select key from name")} >= set(names)

    await eventually(written, PATIENCE, f"{names} are not on the disk")


async def snapshot(started: Host) -> dict[str, Any]:
    said: Any = (await started.json("/status"))["snapshot"]
    return dict(said)


async def brain(started: Host, *, other_than: int, seconds: float = PATIENCE) -> None:
    await eventually(lambda: started.agent.children().get("brain", other_than) != other_than, seconds, "no new brain")


async def test_a_disk_that_hangs_holds_up_nothing_but_the_snapshot() -> None:
    async with on_disk() as (started, disk, file), service("one") as one, service("two") as two:
        started.put("users", one)
        await started.until("users", "one")
        await until_on_disk(file, "users")
        running = started.agent.children()
        async with load(started.agent.url, "users") as seen:
            disk.sticks()
            started.put("orders", two)
            await started.until("orders", "two")
            await eventually(lambda: disk.waiting, PATIENCE, "nobody writes")
            started.put("users", two)
            assert await seen.until_answered_by("two", PATIENCE)
            assert (await snapshot(started))["writing_seconds"] is not None
            disk.is_well()
            await until_on_disk(file, "users", "orders")
        assert not seen.failed
        assert started.agent.children() == running


async def test_on_a_slow_disk_it_starts_serves_and_remembers_late() -> None:
    async with on_disk(takes=0.02) as (started, _, file), service("one") as one:
        started.put("users", one)
        await started.until("users", "one")
        await until_on_disk(file, "users")
        async with load(started.agent.url, "users") as seen:
            old = started.agent.children()["brain"]
            os.kill(old, signal.SIGKILL)
            await brain(started, other_than=old)
            await started.agent.until_ready()
        assert not seen.failed
        assert "names_restored=1" in started.agent.log.read_text()


async def test_a_brain_that_is_killed_while_the_disk_hangs_is_followed_by_one_that_withdraws_nothing() -> None:
    async with on_disk() as (started, disk, file), service("one") as one, service("two") as two:
        started.put("users", one)
        await started.until("users", "one")
        async with load(started.agent.url, "users") as seen:
            disk.sticks()
            old = started.agent.children()["brain"]
            os.kill(old, signal.SIGKILL)
            await brain(started, other_than=old)
            log = started.agent.log
            await eventually(lambda: "without its snapshot" in log.read_text(), LOAD_SECONDS * 2, "it is waited for")
            await started.agent.until_ready()
            started.put("orders", two)
            await started.until("orders", "two")
            disk.is_well()
            await until_on_disk(file, "users", "orders")
        assert not seen.failed


async def test_an_agent_that_is_reloaded_while_the_disk_hangs_does_not_wait_for_it() -> None:
    async with on_disk() as (started, disk, _), service("one") as one, service("two") as two:
        started.put("users", one)
        await started.until("users", "one")
        async with load(started.agent.url, "users") as seen:
            disk.sticks()
            started.put("orders", two)
            await started.until("orders", "two")
            await eventually(lambda: disk.waiting, PATIENCE, "nobody writes")
            old = started.agent.children()["brain"]
            started.agent.process.send_signal(signal.SIGHUP)
            await brain(started, other_than=old)
        assert not seen.failed
