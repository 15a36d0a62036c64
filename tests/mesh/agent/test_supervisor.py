"""The two children outlive each other: kills, crashes, hot restarts, reloads and the end, under a load that counts."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
from functools import partial
from pathlib import Path

from demo.calls import load
from scripts.running import TIELINE, agent, eventually, folder, service
from tests.host import PATIENCE, Host, host, rewrite, running

SHARED_MEMORY = Path("/dev/shm")


def _memory(started: Host) -> Path:
    """What this host's Envoy shares with its successor; others may run beside it."""
    number = (started.agent.folder / "run" / "envoy.base-id").read_text().strip()
    (found,) = SHARED_MEMORY.glob(f"envoy_shared_memory_{number}*")
    return found


def _child(started: Host, kind: str) -> int:
    return started.agent.children().get(kind, 0)


async def _kill(started: Host, kind: str, number: signal.Signals = signal.SIGKILL) -> int:
    """Ends one child and waits for its successor's process id."""
    old = _child(started, kind)
    os.kill(old, number)
    await eventually(lambda: _child(started, kind) not in (0, old), PATIENCE, f"no new {kind}")
    return _child(started, kind)


def _is_on_disk(started: Host, key: str) -> bool:
    with sqlite3.connect(started.agent.folder / "state" / "snapshot.sqlite") as database:
        known = database.execute("select count(*) from observation").fetchone()[0]
        return bool(known) and (key,) in database.execute("select key from name").fetchall()


async def _until_brain_answers(started: Host) -> None:
    await started.agent.until_ready()


async def test_a_brain_killed_under_load_costs_no_request() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        assert (await started.call("users")).body == "users"
        async with load(started.agent.url, "users") as seen:
            for _ in range(3):
                await _kill(started, "brain")
                await _until_brain_answers(started)
            count = seen.answers["users"]
            await eventually(lambda: seen.answers["users"] > count, PATIENCE, "the load stopped")
        assert not seen.failed
        await started.no_nacks()


async def test_a_restarted_brain_serves_what_the_disk_remembers_while_its_source_is_away() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        await eventually(partial(_is_on_disk, started, "users"), PATIENCE, "the snapshot was not written")
        (started.agent.folder / "disco").rename(started.agent.folder / "away")
        await _kill(started, "brain")
        await _until_brain_answers(started)
        assert (await started.call("users")).body == "users"
        rows = await started.names()
        assert rows["users"]["held"], rows
        explained = await started.json("/explain?name=users")
        assert explained["outcome"] == "bound"
        (started.agent.folder / "away").rename(started.agent.folder / "disco")

        async def fresh() -> bool:
            return not (await started.names())["users"]["held"]

        await eventually(fresh, PATIENCE, "the returned source is not believed")


async def test_a_brain_without_its_disk_withdraws_nothing_before_its_sources_have_answered() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        (started.agent.folder / "disco").rename(started.agent.folder / "away")
        async with load(started.agent.url, "users") as seen:
            for file in (started.agent.folder / "state").iterdir():
                file.unlink()
            await _kill(started, "brain")
            await _until_brain_answers(started)

            async def adopted() -> bool:
                return "users" in await started.names()

            await eventually(adopted, PATIENCE, "the scope that Envoy has was not taken over")

            # Longer than the bind timeout: the source has failed by now, and still nothing may be withdrawn.
            async def failed() -> bool:
                sources = (await started.json("/status"))["sources"]
                assert isinstance(sources, list)
                return bool(sources[0]["failed"])

            await eventually(failed, PATIENCE, "the source did not fail")
            count = seen.answers["users"]
            await eventually(lambda: seen.answers["users"] > count + 50, PATIENCE, "the load stopped")
        assert not seen.failed
        (started.agent.folder / "away").rename(started.agent.folder / "disco")


async def test_a_crashed_envoy_is_started_again_and_serves() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        await _kill(started, "envoy")

        async def serves() -> bool:
            try:
                return (await started.call("users")).body == "users"
            except OSError:
                return False

        await eventually(serves, PATIENCE, "the new Envoy does not serve")
        await started.no_nacks()


async def _until_epoch(started: Host, epoch: int) -> None:
    async def restarted() -> bool:
        envoy = (await started.json("/status"))["envoy"]
        assert isinstance(envoy, dict)
        return envoy.get("epoch") == epoch and envoy.get("state") == "LIVE"

    await eventually(restarted, 30, f"no Envoy of epoch {epoch}\n{started.agent.tail()}")


async def test_a_hot_restart_costs_no_request() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        async with load(started.agent.url, "users") as seen:
            for epoch in (1, 2):
                started.agent.process.send_signal(signal.SIGUSR1)
                await _until_epoch(started, epoch)
                count = seen.answers["users"]
                await eventually(lambda count=count: seen.answers["users"] > count + 200, PATIENCE, "the load stopped")  # type: ignore[misc]
        assert not seen.failed
        await started.no_nacks()


async def test_a_second_hot_restart_waits_for_the_requests_of_the_first() -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow")
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    # Longer than it takes a new Envoy to come up: it may not end the request, and neither may the drain.
    async with server, host(envoy={"drain": "3s"}) as started:
        started.put("users", server.sockets[0].getsockname()[1])
        async with asyncio.TaskGroup() as tasks:
            # POST: the client repeats a GET that was cut.
            call = tasks.create_task(started.call("users", method="POST"))
            await asked.wait()
            started.agent.process.send_signal(signal.SIGUSR1)
            await _until_epoch(started, 1)
            started.agent.process.send_signal(signal.SIGUSR1)
            await asyncio.sleep(2)
            release.set()
            assert (await call).body == "slow"
        await _until_epoch(started, 2)


async def test_a_reload_applies_a_new_table_and_a_bad_one_changes_nothing() -> None:
    async with host() as started, service("one") as one, service("two") as two:
        started.put("one", one)
        started.put("two", two)
        rewrite(started.agent.config, dtab="/svc => /#/files ; /svc/name => /#/files/one")
        started.agent.process.send_signal(signal.SIGHUP)
        await started.until("name", "one")
        async with load(started.agent.url, "name") as seen:
            rewrite(started.agent.config, dtab="/svc => /#/files ; /svc/name => /#/files/two")
            started.agent.process.send_signal(signal.SIGHUP)
            assert await seen.until_answered_by("two", PATIENCE)
            rewrite(started.agent.config, dtab="/svc = /#/files")
            started.agent.process.send_signal(signal.SIGHUP)
            await eventually(
                lambda: "the running one stays" in started.agent.tail(), PATIENCE, "the bad table was not reported"
            )
        assert not seen.failed
        assert (await started.call("name")).body == "two"
        assert "'=>' expected" in started.agent.tail()


async def test_a_drain_lets_the_request_under_way_end_and_leaves_nothing_behind() -> None:
    async with host() as started, service("users") as port:
        started.put("users", port)
        await started.until("users", "users")
        memory = _memory(started)
        async with load(started.agent.url, "users") as seen:
            await eventually(lambda: seen.answers["users"] > 20, PATIENCE, "no load")
            started.agent.process.send_signal(signal.SIGTERM)
            # The listener stays open while it drains, then it is closed: a caller may be refused. Reset, if the kernel
            # had taken its connection and Envoy had not; but no request that Envoy has read is lost (a disconnect).
            await eventually(lambda: bool(seen.failed) or started.agent.process.poll() is not None, PATIENCE, "no end")
        started.agent.process.wait(PATIENCE)
        assert started.agent.process.returncode == 0
        assert set(seen.failed) <= {"ClientConnectorError", "ClientOSError"}, seen.failed
        assert list((started.agent.folder / "run").iterdir()) == []
        assert not memory.exists()


async def test_a_second_agent_in_the_same_run_dir_is_refused() -> None:
    async with host() as started:
        second = subprocess.run(
            [TIELINE, "agent", "-c", str(started.agent.config)], check=False, capture_output=True, text=True
        )
        assert second.returncode == 1
        assert "another agent runs in" in second.stderr
        assert (await started.agent.ask("/readyz"))[0] == 200


def test_an_envoy_that_is_not_there_is_said_before_anything_starts() -> None:
    with running(envoy={"binary": "/nonexistent/envoy"}) as started:
        assert started.agent.process.wait(PATIENCE) == 1
        assert started.agent.tail() == "/nonexistent/envoy: no Envoy that can be run; correct envoy.binary\n"


async def test_a_port_that_is_taken_is_an_incident_that_names_the_port() -> None:
    taken = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    with folder() as place, agent(place, {"routers": [{"name": "http", "port": port}]}) as started:

        async def told() -> bool:
            return started.admin.exists() and "Address already in use" in (await started.ask("/status"))[1]

        await eventually(told, PATIENCE, "the refusal is not in the status")
        assert (await started.ask("/readyz"))[0] == 503
        assert str(port) in started.tail()
    taken.close()
