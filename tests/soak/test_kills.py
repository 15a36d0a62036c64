"""Something is killed (SIGKILL) every 30 s while requests run and the table changes: a control plane over its SQLite
file, an agent with its Envoy, all of them the processes that users run.

An agent is a supervisor, a brain, and Envoy with its keeper. When the brain is killed Envoy goes on with what it has,
and the supervisor starts another brain. When the supervisor is killed Envoy goes on, too, and the supervisor that is
started next (by systemd) takes it over.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
import yaml

from demo.calls import Load, load
from mesh.control.grants import Role, digest, new_token
from scripts.ports import free_port
from scripts.running import TIELINE, Agent, ControlPlane, agent, control, end, eventually, folder, service
from tests.soak.pace import every

pytestmark = pytest.mark.soak
KILLED_EVERY = 30.0
AWAY = 5.0
"""Seconds without a control plane, each time."""
PATIENCE = 60.0
CALM = 0.5
"""Seconds between two changes of the table."""
TO = ("one", "two")
NAMESPACE = "/v1/namespaces/default"


class NotYet(Exception):
    pass


@dataclass
class Mesh:
    """`changes`: how many tables were in force, one after the other. `version`: the last that was acknowledged."""

    place: Path
    settings: dict[str, object]
    agent: Agent
    control: ControlPlane
    stack: ExitStack
    changes: int = 0
    version: int = 0
    slowest: float = 0.0

    async def ask(self, method: str, **more: object) -> dict[str, object]:
        connector = aiohttp.UnixConnector(str(self.control.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://control{NAMESPACE}", **more) as response,  # type: ignore[arg-type]
        ):
            answer: dict[str, object] = await response.json()
            if response.status == 503:  # It has begun just now, and says that it does not know its tables yet.
                raise NotYet(answer)
            assert response.status == 200, answer
            return answer

    async def put(self, to: str) -> None:
        """Until it is acknowledged: who gets no answer asks again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            try:
                said = await self.ask("PUT", json={"dtab": f"/svc/users => /#/files/{to}", "yes": True})
            except (NotYet, aiohttp.ClientError, OSError):
                assert loop.time() < deadline, "no change is taken any more"
                await asyncio.sleep(0.1)
            else:
                self.version = int(str(said["version"]))
                return

    async def change(self, seen: Load) -> None:
        """The table leads to the one and to the other in turn; each time until callers get there."""
        while True:
            to = TO[self.changes % 2]
            began = time.monotonic()
            await self.put(to)
            assert await seen.until_answered_by(to, PATIENCE), f"change {self.changes} is not in force"
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.changes += 1
            await asyncio.sleep(CALM)

    async def kill_control(self) -> None:
        """And start it again; what it has acknowledged it has still."""
        self.control.process.kill()
        await asyncio.to_thread(self.control.process.wait)
        await asyncio.sleep(AWAY)
        acknowledged = self.version
        again = control(self.place / "control", self.settings, self.control.port)
        self.control = await asyncio.to_thread(self.stack.enter_context, again)
        assert int(str((await self.ask("GET"))["version"])) >= acknowledged

    async def kill_brain(self) -> None:
        brain = self.agent.children()["brain"]
        os.kill(brain, signal.SIGKILL)
        await eventually(lambda: self.agent.children().get("brain", brain) != brain, PATIENCE, "no new brain")
        await self.agent.until_ready()

    async def kill_agent(self, seen: Load) -> None:
        """Its supervisor, and start it again as systemd would, at once."""
        self.agent.process.kill()
        await asyncio.to_thread(self.agent.process.wait)
        with self.agent.log.open("ab") as log:
            command = [TIELINE, "agent", "-c", str(self.agent.config)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self.stack.callback(end, process)
        self.agent = replace(self.agent, process=process)
        answered = seen.answers.total()
        await eventually(lambda: seen.answers.total() > answered, PATIENCE, f"it does not serve\n{self.agent.tail()}")
        await self.agent.until_ready()


@asynccontextmanager
async def mesh() -> AsyncIterator[Mesh]:
    async with service("one") as one, service("two") as two:
        with folder() as place, ExitStack() as stack:
            for each in ("disco", "control", "agent"):
                (place / each).mkdir()
            for name, port in zip(TO, (one, two), strict=True):
                (place / "disco" / name).write_text(f"127.0.0.1 {port}\n")
            token = new_token()
            (place / "agent.token").write_text(token)
            grants = {"tokens": [{"name": "fleet", "role": str(Role.AGENT), "sha256": digest(token)}]}
            (place / "tokens.yaml").write_text(yaml.safe_dump(grants))
            sources = [{"kind": "files", "folder": str(place / "disco")}]
            settings: dict[str, object] = {"sources": sources, "tokens_file": str(place / "tokens.yaml")}
            running = stack.enter_context(control(place / "control", settings, free_port()))
            joined = {"url": running.url, "name": "host7", "token_file": str(place / "agent.token")}
            started = stack.enter_context(agent(place / "agent", {"control": joined}))
            await started.until_ready()
            yield Mesh(place, settings, started, running, stack)
            for log in (started.log, running.log):
                assert [each for each in records(log.read_text()) if is_a_defect(each)] == []


def records(log: str) -> list[str]:
    """With the lines that belong to each."""
    return re.split(r"^(?=\[?\d{4}-\d\d-\d\d )", log, flags=re.MULTILINE)


def is_a_defect(record: str) -> bool:
    """gRPC tells of a stream that was cancelled because the brain ends."""
    bug = "Traceback" in record and "asyncio.exceptions.CancelledError" not in record
    return bug or "Envoy refused" in record


async def killing(it: Mesh, kill: Callable[[Load], Awaitable[None]]) -> Load:
    """What callers have seen while it was killed again and again."""
    await it.put(TO[1])
    async with load(it.agent.url, "users") as seen:
        assert await seen.until_answered_by(TO[1], PATIENCE)
        seen.failed.clear()  # There was no table when the first one called.
        async with asyncio.TaskGroup() as tasks:
            changing = tasks.create_task(it.change(seen))
            kills = 0
            async for _ in every(KILLED_EVERY):
                await kill(seen)
                kills += 1
            changes = it.changes
            await eventually(lambda: it.changes > changes + 1, PATIENCE, "no change is in force any more")
            changing.cancel()
    print(
        f"{kills} kills, {it.changes} tables in force, each within {it.slowest:.1f} s;",
        f"{seen.answers.total()} requests answered, failed: {dict(seen.failed) or 0}",
    )
    assert kills
    return seen


async def test_a_control_plane_killed_every_30_seconds_costs_no_request_and_no_change() -> None:
    async with mesh() as it:
        seen = await killing(it, lambda _: it.kill_control())
        assert not seen.failed


async def test_an_agent_s_brain_killed_every_30_seconds_costs_no_request() -> None:
    async with mesh() as it:
        seen = await killing(it, lambda _: it.kill_brain())
        assert not seen.failed


async def test_an_agent_s_supervisor_killed_every_30_seconds_costs_no_request() -> None:
    async with mesh() as it:
        seen = await killing(it, it.kill_agent)
        assert not seen.failed
