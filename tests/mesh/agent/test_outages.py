"""Agents as they are run, and a control plane that is killed, and everything that is killed beside it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.calls import call, load
from mesh.agent.snapshot_file import SnapshotFile
from scripts.ports import free_port
from scripts.running import Agent, agent, eventually, folder, service
from tests.control_process import control_process
from tests.host import PATIENCE

DTAB = "/svc => /#/shared"


def settings(port: int) -> dict[str, object]:
    return {"control": {"url": f"http://127.0.0.1:{port}"}}


def put(shared: Path, name: str, port: int) -> None:
    fresh = shared / f".{name}"
    fresh.write_text(f"127.0.0.1 {port}\n")
    fresh.rename(shared / name)


@contextmanager
def shared() -> Iterator[tuple[Path, Path]]:
    """Where an agent is, and what the control plane observes."""
    with folder() as place:
        (place / "shared").mkdir()
        yield place, place / "shared"


async def until(it: Agent, name: str, body: str) -> None:
    async def answered() -> bool:
        try:
            return (await call(it.url, name))[2] == body
        except OSError:
            return False

    await eventually(answered, PATIENCE, f"{name} is not answered by {body!r}\n{it.tail()}")


async def until_on_disk(place: Path) -> None:
    """The table and the name are written, as a restart will read them."""

    def written() -> bool:
        file = SnapshotFile(place / "state" / "snapshot.sqlite")
        restored = file.read(0.0)
        file.close()
        known = any(state.addr for state in restored.observations.values())
        return bool(known and restored.names and restored.fleet.table and restored.fleet.sources)

    await eventually(written, PATIENCE, "the snapshot is not written")


async def test_a_control_plane_that_is_killed_under_load_costs_no_request() -> None:
    port = free_port()
    async with service("one") as one, service("two") as two:
        with shared() as (place, names), agent(place, settings(port)) as it:
            put(names, "users", one)
            with control_process(port, names, DTAB):
                await until(it, "users", "one")
            async with load(it.url, "users") as seen:
                for turn in range(3):
                    to, body = ((two, "two"), (one, "one"))[turn % 2]
                    with control_process(port, names, DTAB) as control:
                        put(names, "users", to)
                        await until(it, "users", body)
                        control.kill()
                        count = seen.answers[body]
                        await eventually(lambda body=body, count=count: seen.answers[body] > count + 100, PATIENCE, "?")  # type: ignore[misc]
            assert not seen.failed
            assert "Envoy refused" not in it.log.read_text()


async def test_an_agent_that_is_started_anew_with_all_else_gone_serves_what_it_knew() -> None:
    port = free_port()
    async with service("one") as one:
        with shared() as (place, names):
            put(names, "users", one)
            with agent(place, settings(port)) as it, control_process(port, names, DTAB):
                await until(it, "users", "one")
                await until_on_disk(place)
            (names / "users").unlink()
            with agent(place, settings(port)) as it:
                await until(it, "users", "one")
                status, said = await it.ask("/status")
                assert status == 200
                assert '"connected": false' in said
                assert (await call(it.url, "nobody"))[0] != 200


async def test_a_brain_that_is_killed_again_and_again_costs_no_request_and_the_rest_comes_back() -> None:
    port = free_port()
    async with service("one") as one:
        with shared() as (place, names):
            put(names, "users", one)
            with agent(place, settings(port)) as it:
                with control_process(port, names, DTAB):
                    await until(it, "users", "one")
                    await until_on_disk(place)
                    async with load(it.url, "users") as seen:
                        for _ in range(3):
                            await _killed(it, "brain")
                            await it.until_ready()
                # The control plane is gone now, too.
                async with load(it.url, "users") as alone:
                    for _ in range(2):
                        await _killed(it, "brain")
                        await it.until_ready()
                assert not seen.failed
                assert not alone.failed
                assert seen.answers["one"] > 100
                await _killed(it, "envoy")
                await until(it, "users", "one")
                it.process.send_signal(signal.SIGKILL)
                it.process.wait()
            with agent(place, settings(port)) as it:
                await until(it, "users", "one")


async def test_a_brain_without_disk_and_control_plane_withdraws_nothing_until_it_has_heard_what_holds() -> None:
    port = free_port()
    async with service("one") as one:
        with shared() as (place, names), agent(place, settings(port)) as it:
            put(names, "users", one)
            with control_process(port, names, DTAB):
                await until(it, "users", "one")
            async with load(it.url, "users") as seen:
                for file in (place / "state").iterdir():
                    file.unlink()
                await _killed(it, "brain")
                await it.until_ready()
                # Nobody can say whether it exists.
                assert (await call(it.url, "nobody"))[0] == 503
                count = seen.answers["one"]
                await eventually(lambda: seen.answers["one"] > count + 300, PATIENCE, "the load stopped")
                with control_process(port, names, DTAB):

                    async def absent() -> bool:
                        return (await call(it.url, "nobody"))[0] == 404

                    await eventually(absent, PATIENCE, "the control plane is not heard")
                    count = seen.answers["one"]
                    await eventually(lambda: seen.answers["one"] > count + 300, PATIENCE, "the load stopped")
            assert not seen.failed


async def _killed(it: Agent, kind: str) -> None:
    """And another one is in its place."""
    old = it.children()[kind]
    os.kill(old, signal.SIGKILL)
    await eventually(lambda: it.children().get(kind, old) != old, PATIENCE, f"no new {kind}")
