from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh.control.audit import STRANGERS, Attempt, Audit, Unwritable
from tests.manual import ROOT

CI = Attempt("ci", "token", "10.0.0.7", "PUT /v1/namespaces/default", "default", "because")
NOBODY = Attempt("nobody", "nobody", "10.0.0.9", "PUT /v1/namespaces/default")


async def test_a_change_that_began_and_ended_is_one_record(tmp_path: Path) -> None:
    audit = Audit(tmp_path, clock=lambda: 1000.0)
    id = await audit.begun(CI)
    [begun] = await audit.latest(10)
    assert (begun.result, begun.who, begun.why) == ("begun", "ci", "because")
    await audit.ended(CI, "made", id=id, status=200, version=7)
    [made] = await audit.latest(10)
    assert (made.result, made.version, made.status, made.at, made.address) == ("made", 7, 200, 1000.0, "10.0.0.7")
    lines = (tmp_path / "audit.log").read_text().splitlines()
    assert [json.loads(line)["result"] for line in lines] == ["begun", "made"]


async def test_the_newest_come_first_and_only_so_many(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    for number in range(20):
        await audit.ended(CI, "refused", status=number)
    assert [each.status for each in await audit.latest(5)] == [19, 18, 17, 16, 15]


async def test_what_others_wrote_into_the_file_is_passed_over(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    await audit.ended(CI, "refused")
    with (tmp_path / "audit.log").open("ab") as file:
        file.write(b'\xff nonsense\n[]\n{"id": "x"}\n')
    await audit.ended(CI, "refused")
    assert len(await audit.latest(10)) == 2


async def test_the_log_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    audit = Audit(tmp_path, most_bytes=2_000, files=3)
    for number in range(100):
        await audit.ended(CI, "refused", status=number)
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["audit.log", "audit.log.1", "audit.log.2"]
    assert all(file.stat().st_size <= 2_000 for file in tmp_path.iterdir())
    statuses = [each.status for each in await audit.latest(1000)]
    assert statuses == list(range(99, 99 - len(statuses), -1))
    assert len(statuses) >= 12


async def test_nobody_can_not_push_others_out(tmp_path: Path) -> None:
    now = 1000.0
    audit = Audit(tmp_path, clock=lambda: now)
    await audit.ended(CI, "made")
    for _ in range(1000):
        await audit.ended(NOBODY, "refused", status=401)
    await audit.ended(CI, "made")
    assert len(await audit.latest(10_000)) == STRANGERS + 2
    now += 61
    await audit.ended(NOBODY, "refused", status=401)
    assert (await audit.latest(1))[0].unrecorded == 1000 - STRANGERS


async def test_many_at_once_are_whole_lines(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    async with asyncio.TaskGroup() as tasks:
        for number in range(100):
            tasks.create_task(audit.ended(CI, "refused", status=number))
    assert sorted(each.status or 0 for each in await audit.latest(1000)) == list(range(100))


async def test_a_log_that_can_not_be_written_is_told_and_works_again_when_it_can(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    (tmp_path / "audit.log").mkdir()
    with pytest.raises(Unwritable, match=r"audit\.log: is a directory"):
        await audit.begun(CI)
    assert (audit.failures, audit.failing) == (1, f"{tmp_path}/audit.log: is a directory")
    (tmp_path / "audit.log").rmdir()
    await audit.begun(CI)
    assert audit.failing is None


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """As a disk that is full: a write beyond fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


async def test_on_a_full_disk_half_a_line_is_taken_back(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    await audit.ended(CI, "made")
    size = (tmp_path / "audit.log").stat().st_size
    with files_of_at_most(size + 20), pytest.raises(Unwritable, match="file too large"):
        await audit.begun(CI)
    assert (tmp_path / "audit.log").stat().st_size == size
    await audit.ended(CI, "refused")
    assert [each.result for each in await audit.latest(10)] == ["refused", "made"]


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from mesh.control.audit import Attempt, Audit

async def run():
    await Audit(Path(sys.argv[1])).begun(Attempt("ci", "token", "", "PUT /", why="last words"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(run())
"""


async def test_what_was_begun_when_the_process_was_killed_is_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL
    [record] = await Audit(tmp_path).latest(10)
    assert (record.result, record.why) == ("begun", "last words")


async def test_only_its_owner_reads_the_log(tmp_path: Path) -> None:
    await Audit(tmp_path / "state").begun(CI)
    assert (tmp_path / "state" / "audit.log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
