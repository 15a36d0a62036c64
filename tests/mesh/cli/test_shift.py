"""`tieline shift` in a process of its own, with a real control plane, an agent, its Envoy, and calls all the while."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from mesh.cli import shift_run, versions
from mesh.cli.control_client import ControlPlane
from mesh.cli.shift_run import Order
from scripts.running import TIELINE, control, eventually, folder, service
from tests.fleet import Fleet, fleet

PATIENCE = 30.0


@dataclass
class Target:
    """A service that can begin to fail."""

    port: int = 0
    status: int = 200

    async def answer(self, _request: web.Request) -> web.Response:
        return web.Response(text="two", status=self.status)


@asynccontextmanager
async def target() -> AsyncIterator[Target]:
    found = Target()
    app = web.Application()
    app.router.add_get("/", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = runner.addresses[0][1]
    try:
        yield found
    finally:
        await runner.cleanup()


@dataclass
class World:
    fleet: Fleet
    target: Target
    folder: Path
    environment: dict[str, str]
    answers: Counter[str] = field(default_factory=Counter)

    async def call(self, seconds_between: float = 0.02) -> None:
        """Calls `users` until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(self.fleet.agents["one"].url, headers={"host": "users"}) as response:
                    self.answers[f"{response.status} {await response.text()}"] += 1
                await asyncio.sleep(seconds_between)

    async def is_in_use(self) -> bool:
        return "/svc/users" in await self.run("names", "--fleet") and self.answers["200 one"] > 0

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            TIELINE,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
            # What runs in the background inherits that Ctrl-C is ignored.
            preexec_fn=_heeds_ctrl_c,
        )

    async def run(self, *arguments: str, ends_with: int = 0) -> str:
        process = await self.start(*arguments)
        said, _ = await process.communicate()
        assert process.returncode == ends_with, said.decode()
        return said.decode()

    async def shift(self, *options: str) -> asyncio.subprocess.Process:
        order = ("shift", "/svc/users", "--to", "/#/dc2/users", "--every", "2s", "-o", "json", "--yes")
        return await self.start(*order, *options)

    async def table(self) -> str:
        return await self.run("dtab", "get")

    async def whys(self) -> list[str]:
        """The newest last."""
        said = json.loads(await self.run("dtab", "history", "-o", "json"))
        return [each["why"] for each in reversed(said["versions"])]


def _heeds_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


TABLE = "# all\n/svc => /#/dc1 ;\n"


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with service("one") as one, target() as two:
        sources: list[dict[str, object]] = [
            {"kind": "static", "prefix": "dc1", "names": {"users": [f"127.0.0.1:{one}"]}},
            {"kind": "static", "prefix": "dc2", "names": {"users": [f"127.0.0.1:{two.port}"]}},
        ]
        with folder() as place, fleet(place, sources, "one") as running:
            made = World(running, two, place, {"TIELINE_CONTROL": str(running.control.socket), **_python()})
            (place / "names.dtab").write_text(TABLE)
            await made.run("dtab", "set", str(place / "names.dtab"), "-m", "the first one")
            await running.agents["one"].until_ready()
            async with asyncio.TaskGroup() as tasks:
                calling = tasks.create_task(made.call())
                await eventually(made.is_in_use, PATIENCE, "the control plane does not hear of calls")
                yield made
                calling.cancel()


def _python() -> dict[str, str]:
    return {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "HOME") if key in os.environ}


async def events(process: asyncio.subprocess.Process) -> AsyncIterator[dict[str, object]]:
    assert process.stdout is not None
    async for line in process.stdout:
        try:
            yield json.loads(line)
        except ValueError:
            pytest.fail(line.decode() + (await process.stdout.read()).decode())


async def test_a_shift_goes_to_the_end_and_no_request_fails() -> None:
    async with world() as made:
        process = await made.shift("--step", "100%", "-m", "dc1 is old")
        said = [(each["event"], each.get("percent")) async for each in events(process)]
        assert await process.wait() == 0
        assert [each for each in said if each[0] != "waiting"] == [("step", 100.0), ("good", 100.0), ("done", None)]
        assert await made.table() == f"{TABLE}/svc/users => /#/dc2/users ;\n"
        assert await made.whys() == ["the first one", "shift /svc/users to /#/dc2/users: 100 % (dc1 is old)"]
        assert set(made.answers) == {"200 one", "200 two"}
        made.answers.clear()
        await eventually(lambda: made.answers["200 two"] > 20, PATIENCE, "the target does not serve")
        assert set(made.answers) == {"200 two"}


async def test_a_target_that_begins_to_fail_is_left_again_by_itself() -> None:
    async with world() as made:
        process = await made.shift("--step", "50%")
        said: list[dict[str, object]] = []
        async for each in events(process):
            said.append(each)
            if each["event"] == "good":
                assert set(made.answers) == {"200 one", "200 two"}
                made.target.status = 500
        assert await process.wait() == 1
        assert [each["event"] for each in said if each["event"] != "waiting"] == ["step", "good", "step", "undone"]
        assert "% successful" in str(said[-1]["reason"])
        assert await made.table() == TABLE
        assert (await made.whys())[-1].startswith("shift /svc/users undone: only ")
        made.answers.clear()
        await eventually(lambda: made.answers["200 one"] > 20, PATIENCE, "it is not as it was")


async def test_somebody_elses_change_ends_it_and_stays() -> None:
    async with world() as made:
        theirs = made.folder / "theirs.dtab"
        theirs.write_text("/svc => /#/dc1 | /#/dc2 ;\n")
        process = await made.shift("--step", "50%")
        said: list[dict[str, object]] = []
        async for each in events(process):
            said.append(each)
            if each["event"] == "step":
                await made.run("dtab", "set", str(theirs), "--yes", "-m", "mine")
        assert await process.wait() == 1
        assert [each["event"] for each in said] == ["step", "overtaken"]
        assert said[-1]["version"] == 3
        assert await made.table() == "/svc => /#/dc1 | /#/dc2 ;\n"


async def test_stopped_by_hand_it_says_what_stands_and_the_same_command_goes_on() -> None:
    async with world() as made:
        process = await made.shift("--step", "40%")
        said: list[dict[str, object]] = []
        async for each in events(process):
            said.append(each)
            if each["event"] == "step":
                process.send_signal(signal.SIGINT)
        assert await process.wait() == 1
        assert said[-1]["event"] == "stopped"
        assert (said[-1]["percent"], said[-1]["back"]) == (40.0, "tieline dtab rollback 1")
        process = await made.shift("--step", "60%")
        made.target.status = 500
        again = [(each["event"], each.get("percent")) async for each in events(process)]
        assert await process.wait() == 1
        assert again[0] == ("step", 100.0)
        assert again[-1] == ("undone", None)
        assert await made.table() == TABLE


async def test_while_the_control_plane_is_gone_it_waits(tmp_path: Path) -> None:
    sources = {"sources": [{"kind": "static", "prefix": "dc2", "names": {"users": ["10.0.0.1:80"]}}]}
    with folder() as place:
        with control(place, sources) as running:
            made = World(Fleet(running, {}), Target(), place, {"TIELINE_CONTROL": str(running.socket), **_python()})
            (place / "names.dtab").write_text(TABLE)
            await made.run("dtab", "set", str(place / "names.dtab"))
            process = await made.shift("--step", "100%", "--least-requests", "0")
            said = events(process)
            assert (await anext(said))["event"] == "step"
            running.process.kill()
            assert (await anext(said))["event"] == "unreachable"
        with control(place, sources):
            assert [each["event"] async for each in said] == ["good", "done"]
            assert await process.wait() == 0
            assert await made.table() == f"{TABLE}/svc/users => /#/dc2/users ;\n"


def test_at_a_terminal_it_asks_and_shows_how_it_goes_on(tieline, namespace, terminal, tmp_path: Path) -> None:
    (tmp_path / "names.dtab").write_text(TABLE)
    assert tieline("dtab", "set", "names.dtab").exit_code == 0
    order = ("shift", "/svc/users", "--to", "/#/dc2/users", "--step", "50%", "--every", "0.5s", "--least-requests", "0")
    code, seen = terminal(*order, answers="n\n")
    assert (code, seen.endswith("Begin? [y/N]: nothing was changed\n")) == (1, True)
    assert tieline("dtab", "get").stdout == TABLE
    code, seen = terminal(*order, answers="y\n")
    assert code == 0, seen
    assert "\r\x1b[K50 %: 0 requests, no success rate yet, " in seen
    assert seen.endswith(" /svc/users leads to /#/dc2/users\n")
    assert json.loads(tieline(*order, "-o", "json").stdout)["event"] == "done"


async def test_what_can_not_be_shifted_is_said_before_anything_is_made() -> None:
    async with world() as made:
        order = ("shift", "/svc/users", "--to", "/#/dc2/users", "--step", "50%")
        assert "steps: 50, 100 %, each watched for 60 s or more" in await made.run(*order, "--dry-run", "--yes")
        refused = await made.run(*order, ends_with=1)
        assert "the first step: 50 % of the " in refused
        assert "would move: more than the limit of 10 %" in refused
        for wrong, code in (
            (("shift", "/svc/users", "--to", "/svc/users/x"), 1),
            (("shift", "/host/x", "--to", "/#/dc2/users"), 1),
            (("shift", "users", "--to", "/#/dc2/users"), 2),
            ((*order, "--step", "0%"), 2),
            ((*order, "--every", "soon"), 2),
            ((*order, "--abort-below", "99"), 2),
        ):
            await made.run(*wrong, ends_with=code)
        assert await made.table() == TABLE
        assert await made.whys() == ["the first one"]
        # Here nothing is behind the name's own entry.
        (made.folder / "own.dtab").write_text("/svc/users => /#/dc1/users ;\n")
        await made.run("dtab", "set", str(made.folder / "own.dtab"), "--yes")
        nowhere = await made.run("shift", "/svc/users", "--to", "/#/dc2/nobody", "--yes", ends_with=1)
        assert "/svc/users would lead nowhere at the end (neg); nothing was changed" in nowhere


def test_the_way_back_leads_to_before_the_first_step_however_many_there_were(
    tieline, namespace, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(shift_run, "PAGE", 2)
    order = Order("/svc/users", "/#/dc2/users", 10, 60, 0.99, 20, "")
    whys = ["the first one", order.reason(10), "mine", *(order.reason(percent) for percent in (20, 30, 40, 50, 60))]
    for at, why in enumerate(whys):
        (tmp_path / "names.dtab").write_text(f"{TABLE}# {at}\n")
        assert tieline("dtab", "set", "names.dtab", "-m", why).exit_code == 0
    plane = ControlPlane()
    assert shift_run.base(plane, versions.current(plane), order).number == 3
    assert shift_run.base(plane, versions.numbered(plane, 3), order).number == 3
    assert shift_run.base(plane, versions.numbered(plane, 2), order).number == 1
