"""The supervisor is killed: its Envoy serves on, the next supervisor takes it over, or it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.calls import Load, load
from mesh.agent import keeper, orphan
from scripts.running import TIELINE, eventually, folder, service
from tests.host import PATIENCE, Host, host, rewrite

SHARED_MEMORY = Path("/dev/shm")


def envoys(run_dir: Path) -> list[int]:
    """The oldest generation first."""
    return [each.pid for each in orphan.left(run_dir)]


class Line:
    """Supervisors of one host, each after the one before it was killed."""

    def __init__(self, started: Host) -> None:
        self.started, self.process = started, started.agent.process
        self.run_dir = started.agent.folder / "run"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def succeed(self) -> None:
        log = self.started.agent.log
        before = log.read_text().count("INFO    tieline.supervisor: ready")
        with log.open("ab") as writing:
            command = [TIELINE, "agent", "-c", str(self.started.agent.config)]
            self.process = subprocess.Popen(command, stdout=writing, stderr=writing)
        ready = "INFO    tieline.supervisor: ready"
        try:
            await eventually(lambda: log.read_text().count(ready) > before, PATIENCE, "no supervisor is ready")
        except TimeoutError:
            print(log.read_text())
            raise

    def taken_over(self) -> int:
        return self.started.agent.log.read_text().count("an Envoy without a supervisor goes on with this one")

    def end(self) -> None:
        """And nothing is left."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        assert envoys(self.run_dir) == []
        assert list(self.run_dir.iterdir()) == []


@contextmanager
def line(started: Host) -> Iterator[Line]:
    it = Line(started)
    try:
        yield it
        it.end()
    finally:
        it.kill()


async def serves(started: Host) -> None:
    async def answers() -> bool:
        try:
            return (await started.call("users")).body == "users"
        except OSError:
            return False

    await eventually(answers, PATIENCE, started.agent.tail())


async def more(seen: Load, name: str = "users") -> None:
    count = seen.answers[name]
    await eventually(lambda: seen.answers[name] > count + 100, PATIENCE, "the load stopped")


async def test_callers_do_not_notice_that_the_supervisor_is_killed_and_started_again() -> None:
    async with host(envoy={"drain": "1s"}) as started, service("users") as users, service("orders") as orders:
        started.put("users", users)
        await started.until("users", "users")
        with line(started) as it:
            before = envoys(it.run_dir)
            number = (it.run_dir / "envoy.base-id").read_text().strip()
            async with load(started.agent.url, "users") as seen:
                for times in range(1, 3):
                    it.kill()
                    await more(seen)
                    await it.succeed()
                    assert (it.taken_over(), envoys(it.run_dir)) == (times, before)
                    await more(seen)
                started.put("orders", orders)
                await started.until("orders", "orders")
                # It is restarted after a crash, and hot-restarted, as any other.
                it.process.send_signal(signal.SIGUSR1)
                await eventually(lambda: envoys(it.run_dir)[-1] != before[0], PATIENCE, "no hot restart")
                await eventually(lambda: len(envoys(it.run_dir)) == 1, PATIENCE, "the old one stays")
                await more(seen)
            assert not seen.failed, seen.failed
            await started.no_nacks()
        assert not list(SHARED_MEMORY.glob(f"envoy_*_{number}*"))


async def test_one_that_was_taken_over_and_crashes_is_started_again() -> None:
    async with host() as started, service("users") as users:
        started.put("users", users)
        await started.until("users", "users")
        with line(started) as it:
            it.kill()
            await it.succeed()
            (old,) = envoys(it.run_dir)
            os.kill(old, signal.SIGKILL)
            await eventually(lambda: envoys(it.run_dir) not in ([], [old]), PATIENCE, "no new Envoy")
            await serves(started)


async def test_what_the_configuration_says_anew_is_had_by_a_hot_restart() -> None:
    async with host(envoy={"drain": "1s"}) as started, service("users") as users:
        started.put("users", users)
        await started.until("users", "users")
        with line(started) as it:
            (old,) = envoys(it.run_dir)
            async with load(started.agent.url, "users") as seen:
                it.kill()
                rewrite(started.agent.config, envoy={"concurrency": 1, "drain": "1s"})
                await it.succeed()
                await eventually(lambda: envoys(it.run_dir)[-1:] not in ([], [old]), PATIENCE, "no hot restart")
                await eventually(lambda: len(envoys(it.run_dir)) == 1, PATIENCE, "the old one stays")
                await more(seen)
            assert not seen.failed, seen.failed


async def test_one_that_was_draining_is_of_no_use_and_is_ended() -> None:
    async with host(envoy={"drain": "30s"}) as started, service("users") as users:
        started.put("users", users)
        await started.until("users", "users")
        it = Line(started)
        (old,) = envoys(it.run_dir)
        it.process.terminate()
        await eventually(lambda: not (it.run_dir / keeper.MADE_OF).exists(), PATIENCE, "it does not drain")
        it.kill()
        await eventually(lambda: old not in envoys(it.run_dir), PATIENCE, "it is left")
        with line(started) as next_one:
            await next_one.succeed()
            await serves(started)
            assert (next_one.taken_over(), old in envoys(it.run_dir)) == (0, False)


async def test_an_envoy_that_nobody_comes_back_for_is_ended() -> None:
    """Something else in Envoy's place, and a supervisor that is none; the keeper is real, but for its patience."""
    with folder() as run_dir:
        (run_dir / keeper.MADE_OF).write_text("")
        sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
        words = [sys.executable, keeper.__file__, str(run_dir), "0.5"]
        source = f"import os, subprocess; subprocess.Popen([*{words!r}, str(os.getpid()), *{sleeps!r}]); input()"
        with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE) as parent:
            await eventually(lambda: len(envoys(run_dir)) == 1, PATIENCE, "no keeper")
            parent.kill()
        await eventually(lambda: envoys(run_dir) == [], PATIENCE, "it is still there")


async def test_a_keeper_ends_as_its_envoy_does() -> None:
    with folder() as run_dir:
        for source, code in (("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 11)", -signal.SIGSEGV)):
            words = [
                sys.executable,
                keeper.__file__,
                str(run_dir),
                "60",
                str(os.getpid()),
                sys.executable,
                "-c",
                source,
            ]
            assert subprocess.run(words, check=False).returncode == code


async def test_an_envoy_that_does_not_end_is_killed() -> None:
    with folder() as run_dir:
        source = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()"
        words = [sys.executable, keeper.__file__, str(run_dir), "60", str(os.getpid()), sys.executable, "-c", source]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as one:
            assert one.stdout is not None
            assert one.stdout.readline() == b"1\n"
            one.terminate()
            assert one.wait(PATIENCE) == -signal.SIGKILL
