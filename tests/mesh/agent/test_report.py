"""What an agent reports of itself, with a real Envoy whose counters it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from discovery.address import Bound, Known, State
from discovery.path import Path
from mesh.agent.counted import OTHER
from mesh.agent.report import Counters, Reporter
from mesh.control import status
from mesh.control.status import Counts
from scripts.running import eventually
from tests.answering import answering
from tests.host import PATIENCE
from tests.in_process import InProcess, in_process, version
from tests.upstream import upstream


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def call(it: InProcess, name: str, times: int) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(times):
            async with session.get(it.url, headers={"host": name}) as answer:
                await answer.read()


def addressed(state: State) -> int | None:
    """How many endpoints are known; None: there is no such name."""
    assert isinstance(state, Known)
    return len(state.addr.endpoints) if isinstance(state.addr, Bound) else None


class Heard:
    def __init__(self) -> None:
        self.frames: list[dict[str, object]] = []
        self._came = asyncio.Event()

    def send(self, frame: Mapping[str, object]) -> None:
        self.frames.append(dict(frame))
        self._came.set()

    async def until(self, key: str, value: object) -> dict[str, object]:
        async with asyncio.timeout(PATIENCE):
            while True:
                if self.frames and self.frames[-1].get(key) == value:
                    return self.frames[-1]
                self._came.clear()
                await self._came.wait()


async def test_requests_failures_and_rates_are_those_that_callers_saw() -> None:
    async with upstream("users") as users, in_process("/svc => /#/files") as it:
        clock = Clock()
        counters = Counters(it.brain.envoy_admin, clock)
        it.put("users", users.port)
        assert counters.of("http", "/svc/users") == {}
        await call(it, "users", 10)
        await counters.read()
        assert counters.of("http", "/svc/users") == {"requests": 10, "failures": 0}
        users.status = 500
        await call(it, "users", 5)
        clock.now += 10
        await counters.read()
        assert counters.of("http", "/svc/users") == {"requests": 15, "failures": 5, "rate": 0.5}
        assert counters.of("http", "/svc/nobody") == {"requests": 0, "failures": 0, "rate": 0.0}
        assert counters.of("http", OTHER) == {}


async def test_a_proxy_that_began_anew_counts_from_nothing() -> None:
    async with answering() as envoy:
        clock = Clock()
        counters = Counters(envoy.socket, clock)
        for count, rate in ((50, {}), (30, {"rate": 3.0}), (40, {"rate": 1.0})):
            envoy.say(b"vhost.http.route./svc/a.upstream_rq_2xx: %d\n" % count)
            await counters.read()
            clock.now += 10
            assert counters.of("http", "/svc/a") == {"requests": count, "failures": 0, **rate}
        # What can't be asked says nothing new.
        envoy.say(b"", 503)
        await counters.read()
        assert counters.of("http", "/svc/a")["requests"] == 40


async def test_the_whole_report() -> None:
    async with upstream("users") as users, in_process(metrics={"names": 1}) as it:
        heard = Heard()
        reporter = Reporter(it.brain, heard.send, 12.5)
        it.put("users", users.port)
        it.put("spare")
        await it.take(version(7, "/svc => /#/files ; /svc/users => 9 * /#/files/users & 1 * /#/files/spare"), "users")
        for name in ("users", "spare", "absent"):
            await call(it, name, 2)
        async with asyncio.TaskGroup() as tasks:
            it.brain.on_change = reporter.changed
            keeping = tasks.create_task(reporter.keep())
            first = await heard.until("table", 7)
            keeping.cancel()
        # As the control plane reads it.
        read = status.read(first, None)
        assert read.names["http", "/svc/users"].total == Counts(2, 0)
        assert read.names["http", "/svc/spare"].total is None
        assert {name.show(): addressed(state) for name, state in read.own.items()} == {
            "/#/files/users": 1,
            "/#/files/spare": 0,
            "/#/files/absent": None,
        }
        assert [each.prefix.show() for each in read.sources] == ["/#/files"]
        envoy = first.pop("envoy")
        assert isinstance(envoy, dict)
        assert envoy.pop("acked") > 0
        assert envoy == {"connected": True, "refused": []}
        assert abs(float(str(first.pop("table_since"))) - it.brain.in_force.since) < 1e-6
        assert first == {
            "ready": True,
            "table": 7,
            "table_refused": None,
            "held": [],
            "brain_started": 12.5,
            "names": [
                {"router": "http", "name": "/svc/users", "requests": 2, "failures": 0, "bound": "/#/files/users"},
                {"router": "http", "name": "/svc/spare", "bound": "/#/files/spare"},
            ],
            "local": {
                "/#/files/users": {"endpoints": 1},
                "/#/files/spare": {"endpoints": 0},
                "/#/files/absent": {"endpoints": None},
            },
            "sources": [{"prefix": "/#/files", "segments": 1, "fewest": 1, "longest": False}],
            "dtab": "",
            "proxy": {"envoy": "1.40.0"},
        }


async def test_a_change_is_told_and_names_only_when_others_are_in_use() -> None:
    async with upstream("users") as users, in_process() as it:
        heard = Heard()
        reporter = Reporter(it.brain, heard.send, 0.0)
        it.put("users", users.port)
        await it.take(version(1, "/svc => /#/files"))
        async with asyncio.TaskGroup() as tasks:
            it.brain.on_change = reporter.changed
            keeping = tasks.create_task(reporter.keep())
            assert (await heard.until("table", 1))["names"] == []
            reason = await it.until_refused(version(2, "/svc =>"))
            frame = await heard.until("table_refused", {"version": 2, "reason": reason})
            assert "names" not in frame
            await call(it, "users", 1)
            await eventually(lambda: heard.frames[-1].get("names"), PATIENCE, "the new name is not told of")
            (it.place / "disco").rename(it.place / "away")
            await eventually(lambda: heard.frames[-1]["held"], PATIENCE, "what is held is not told of")
            (row,) = heard.frames[-1]["held"]  # type: ignore[misc]  # JSON
            assert row["name"] == "/#/files/users"  # type: ignore[has-type]  # JSON
            assert Path.parse(row["name"])  # type: ignore[has-type]  # JSON
            keeping.cancel()
