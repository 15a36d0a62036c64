"""`status`, `names` and `explain` of a fleet: a real control plane, and a real agent with its Envoy."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

import aiohttp
import pytest

from mesh.cli import fleet as told
from mesh.cli.answer import Answer
from scripts.ports import free_port
from scripts.running import eventually, folder, service
from tests.fleet import fleet

PATIENCE = 20.0
NOW = 1_800_000_000.0


def agent(**changes: object) -> Answer:
    well = {"agent": "host7", "connected": True, "ready": True, "reported_at": NOW, "since": NOW, "table": 3}
    return Answer({**well, **changes})


@pytest.mark.parametrize(
    ("row", "complaints"),
    [
        (agent(), []),
        (agent(reported_at=None, ready=None), []),
        (agent(connected=False), ["agent host7 is gone since TIME ago"]),
        (agent(ready=False), ["agent host7 is not ready"]),
        (
            agent(table_refused={"version": 4, "reason": "line 3: no"}),
            ["agent host7 has refused version 4: line 3: no"],
        ),
        (
            agent(envoy={"refused": [{"resource": "users", "reason": "bad port", "since": NOW}]}),
            ["agent host7: Envoy refused users TIME ago: bad port"],
        ),
        (
            agent(held=[{"name": f"/#/dc1/{each}", "reason": "dark", "since": NOW} for each in "abcd"]),
            [
                (
                    "agent host7: names held at the last known good: 4 (/#/dc1/a since TIME ago: dark; "
                    "/#/dc1/b since TIME ago: dark; /#/dc1/c since TIME ago: dark; and 1 more)"
                )
            ],
        ),
        (agent(unreadable="names: a list expected"), ["agent host7: its report can't be read: names: a list expected"]),
    ],
)
def test_what_is_wrong_at_an_agent(row: Answer, complaints: list[str]) -> None:
    assert [re.sub(r"\d+(\.\d)?[smhd] ago", "TIME ago", each) for each in told.complaints(row)] == complaints


async def test_a_fleet_is_told_from_one_place(tieline, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "names.dtab").write_text("/svc => /#/dc1 ;\n")

    async def command(*arguments: object):
        return await asyncio.to_thread(tieline, *arguments)

    async with service("one") as one, service("two") as two:
        sources: list[dict[str, object]] = [
            {"kind": "static", "prefix": "dc1", "names": {"users": [f"127.0.0.1:{one}"]}},
            {"kind": "static", "prefix": "dc2", "names": {"users": [f"127.0.0.1:{two}"]}},
        ]
        with folder() as place, fleet(place, sources, "host7") as running:
            monkeypatch.setenv("TIELINE_CONTROL", str(running.control.socket))
            assert (await command("names", "--fleet")).stdout.startswith("default: no agent has used a name")
            await command("dtab", "set", "names.dtab")

            async def well() -> bool:
                done = await command("status", "--fleet")
                return done.exit_code == 0 and "host7" in done.stdout

            await eventually(well, PATIENCE, "the agent does not join")
            lines = (await command("status", "--fleet")).stdout.splitlines()
            assert lines[1] == "store: sqlite, ok"
            assert lines[-1].split()[:2] == ["host7", "default"]
            assert json.loads((await command("status", "--fleet", "-o", "json")).stdout)["wrong"] == []

            async with aiohttp.ClientSession() as session:
                host7 = running.agents["host7"]
                async with session.get(host7.url, headers={"host": "users"}) as response:
                    assert await response.text() == "one"

            async def used() -> bool:
                return "/svc/users  /#/dc1/users" in (await command("names", "--fleet")).stdout

            await eventually(used, PATIENCE, "the name in use is not told")
            before = time.time()
            done = await command("explain", "users", "--agent", "host7")
            assert done.exit_code == 0, done.stderr
            assert f"127.0.0.1:{one}" in done.stdout
            assert "namespace default, version 1, as host7 sees it" in done.stdout.splitlines()

            (tmp_path / "names.dtab").write_text("/svc => /#/dc2 ;\n")
            done = await command("dtab", "set", "names.dtab")
            assert (done.exit_code, "the limit of 10 %" in done.stderr) == (1, True)
            assert (await command("dtab", "set", "names.dtab", "--yes")).exit_code == 0
            await eventually(well, PATIENCE, "the agent does not take the table")
            assert f"127.0.0.1:{two}" in (await command("explain", "users", "--fleet")).stdout
            other = f"http://127.0.0.1:{free_port()},{running.control.url}"
            assert f"127.0.0.1:{two}" in (await command("explain", "users", "--control", other)).stdout
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(before))
            done = await command("explain", "users", "--at", at)
            assert f"127.0.0.1:{one}" in done.stdout, done.output
            assert done.stdout.splitlines()[1].startswith("namespace default, version 1, at ")
            done = await command("explain", "users", "--at", "2001-01-01T00:00:00")
            assert done.exit_code == 1
            assert done.stdout.splitlines()[0] == "users: not known"
            assert "the journal begins" in done.stdout
            done = await command("explain", "users", "--agent", "host8")
            assert (done.exit_code, "host8" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("at", "said"),
    [("25:00", "a time such as 14:03"), ("soon", "a time such as 14:03"), ("2999-01-01T00:00:00", "has not come yet")],
)
def test_a_time_that_is_none(tieline, at: str, said: str) -> None:
    done = tieline("explain", "users", "--at", at)
    assert (done.exit_code, said in done.stderr) == (2, True)


def test_all_names_are_those_of_one_agent(tieline) -> None:
    done = tieline("names", "--all", "--fleet")
    assert (done.exit_code, "--all is about one agent" in done.stderr) == (2, True)
