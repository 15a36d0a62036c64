"""The access log of a real agent: what a line tells, which requests get one, and what rotating it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scripts.ports import free_port
from scripts.running import TIELINE, eventually, folder
from tests.host import PATIENCE, Host, host, rewrite
from tests.upstream import upstream

SECRET = "hunter2"
Line = dict[str, object]


@asynccontextmanager
async def logging(**more: object) -> AsyncIterator[tuple[Host, Path]]:
    with folder() as place:
        file = place / "access.log"
        async with host(access_log={"path": str(file), **more}) as started:
            yield started, file
            await started.no_nacks()


def lines(file: Path) -> list[Line]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def until(file: Path, count: int) -> list[Line]:
    await eventually(lambda: len(lines(file)) >= count, PATIENCE, f"{file} has not {count} lines")
    found = lines(file)
    assert len(found) == count
    return found


async def test_a_line_tells_the_name_what_it_led_to_and_what_became_of_it() -> None:
    async with upstream("one") as one, logging(only="all") as (agent, file):
        agent.put("users", one.port)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        hidden = {"authorization": SECRET, "cookie": SECRET, "traceparent": trace, "x-request-id": 'r"1'}
        await agent.call("users", f"/list?token={SECRET}", **hidden)
        await agent.call("missing")
        found, missing = await until(file, 2)
        assert found["time"]
        table = (await agent.json("/status"))["table"]
        told = {key: found[key] for key in ("router", "name", "bound", "table", "status", "method", "host", "path")}
        assert told == {
            "router": "http",
            "name": "/svc/users",
            "bound": "/#/files/users",
            "table": table,
            "status": 200,
            "method": "GET",
            "host": "users",
            "path": "/list",
        }
        assert (found["endpoint"], found["attempts"], found["bytes_sent"]) == (f"127.0.0.1:{one.port}", 1, 3)
        assert (found["trace"], found["request_id"], found["protocol"]) == (trace, 'r"1', "HTTP/1.1")
        assert isinstance(found["duration_ms"], int)
        assert (missing["status"], missing["name"], missing["host"]) == (404, None, "missing")
        assert "tieline_refused" in str(missing["details"])
        assert SECRET not in file.read_text()
        assert file.stat().st_mode & 0o007 == 0


async def test_errors_alone_are_written_where_nothing_else_is_said() -> None:
    async with upstream("one") as one, logging() as (agent, file):
        agent.put("users", one.port)
        agent.put("dead", free_port())
        for status in (200, 404, 500):
            one.status = status
            await agent.call("users")
        await agent.call("dead")
        own, dead = await until(file, 2)
        assert (own["status"], own["flags"]) == (500, "-")
        assert (dead["status"], dead["name"], dead["bound"]) == (503, "/svc/dead", "/#/files/dead")
        assert "UF" in str(dead["flags"]).split(",")
        assert "refused" in str(dead["failure"]).lower()


async def test_the_query_is_written_where_that_is_said() -> None:
    async with upstream("one") as one, logging(only="all", query=True) as (agent, file):
        agent.put("users", one.port)
        await agent.call("users", "/list?page=2")
        (found,) = await until(file, 1)
        assert found["path"] == "/list?page=2"


async def test_a_name_that_has_no_endpoint_is_told_too() -> None:
    async with logging(only="all") as (agent, file):
        agent.put("empty", lines="")

        async def told() -> bool:
            assert (await agent.call("empty")).status == 503
            return any(line["name"] == "/svc/empty" for line in lines(file))

        # The brain answers until Envoy has the route.
        await eventually(told, PATIENCE, "no line has the name")
        assert {line["host"] for line in lines(file)} == {"empty"}


async def test_at_sighup_a_log_that_was_moved_away_is_begun_anew_and_a_new_table_has_a_new_version() -> None:
    async with upstream("one") as one, logging(only="all") as (agent, file):
        agent.put("users", one.port)
        await agent.call("users")
        await until(file, 1)
        moved = file.with_suffix(".1")
        file.rename(moved)
        rewrite(agent.agent.config, dtab="/svc => /#/files ; /svc/other => /#/files/users")
        os.kill(agent.agent.process.pid, signal.SIGHUP)
        await eventually(lambda: "configuration read again" in agent.agent.tail(), PATIENCE, "it was not read")
        await eventually(_changed(agent, str(lines(moved)[0]["table"])), PATIENCE, "the table is the old one")
        assert (await agent.call("other")).status == 200
        (line,) = [each for each in await until(file, len(lines(file)) or 1) if each["name"] == "/svc/other"]
        assert line["table"] != lines(moved)[0]["table"]
        assert len(lines(moved)) == 1


def _changed(agent: Host, old: str) -> Callable[[], object]:
    async def changed() -> bool:
        try:
            return (await agent.json("/status"))["table"] != old
        except OSError:
            return False

    return changed


@pytest.mark.parametrize("path", ["no/such/folder/access.log", "."])
def test_a_log_that_can_not_be_written_is_refused_before_envoy_sees_it(path: str, tmp_path: Path) -> None:
    config = tmp_path / "tieline.yaml"
    config.write_text(f"run_dir: run\nstate_dir: state\naccess_log: {{path: {path}}}\n")
    done = subprocess.run([TIELINE, "agent", "-c", config], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "choose an access_log.path the agent may write to" in done.stderr
    assert str(tmp_path) in done.stderr


async def test_nothing_is_written_where_nothing_is_asked_for() -> None:
    async with upstream("one") as one, host() as agent:
        agent.put("users", one.port)
        await agent.call("users")
        assert "/svc/users" not in agent.agent.log.read_text()
