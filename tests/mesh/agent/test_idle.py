"""Which names are taken for idle, by what Envoy says of its clusters. Time is the test's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from discovery.path import Path
from mesh.agent.idle import Idle
from tests.answering import Answering, answering
from tests.binding import World, at, world
from tests.virtual_time import settle

IDLE, NEGATIVE = 10.0, 5.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def idling(clock: Clock) -> AsyncIterator[tuple[World, Idle, Answering]]:
    table = "/svc => /#/one ; /svc/alias => /#/one/users ; /svc/dots => /#/one/a.b"
    async with answering() as envoy, world(table) as it:
        # The names' own clock, too: they are younger than the test otherwise.
        it.binder._clock = clock
        for label in ("users", "a.b"):
            it.one.truth[Path((label,))] = at(80)
        idle = Idle(
            binder=it.binder,
            publisher=it.publisher,
            ads=it.ads,
            admin=envoy.socket,
            clock=clock,
            idle_seconds=IDLE,
            refused_seconds=NEGATIVE,
        )
        _count(envoy)
        yield it, idle, envoy


def _count(envoy: Answering, active: int = 0, **totals: int) -> None:
    rows: list[dict[str, object]] = [
        {"name": f"cluster./#/one/{name}.upstream_rq_total", "value": value} for name, value in totals.items()
    ]
    rows += [{"name": "cluster./#/one/users.upstream_rq_active", "value": active}]
    envoy.say(json.dumps({"stats": rows}).encode())


async def _asked(it: World, *hosts: str) -> None:
    for host in hosts:
        it.ask(host)
    await settle()


async def test_a_name_is_dropped_after_the_idle_time_and_not_before() -> None:
    clock = Clock()
    async with idling(clock) as (it, idle, envoy):
        await _asked(it, "users")
        _count(envoy, users=1)
        await idle.drop_idle()
        clock.now += IDLE - 0.1
        await idle.drop_idle()
        assert len(it.binder.names) == 1
        clock.now += 0.2
        await idle.drop_idle()
        assert len(it.binder.names) == 0
        assert it.scope("users") is None


async def test_requests_since_the_last_look_keep_every_name_of_the_cluster() -> None:
    clock = Clock()
    async with idling(clock) as (it, idle, envoy):
        await _asked(it, "users", "alias")
        for total in range(1, 6):
            clock.now += IDLE
            _count(envoy, users=total)
            await idle.drop_idle()
        assert len(it.binder.names) == 2


async def test_a_request_that_still_runs_keeps_its_name() -> None:
    clock = Clock()
    async with idling(clock) as (it, idle, envoy):
        await _asked(it, "users")
        for _ in range(5):
            clock.now += IDLE
            _count(envoy, active=1, users=1)
            await idle.drop_idle()
        assert len(it.binder.names) == 1


async def test_counters_that_begin_anew_with_another_envoy_count_as_use() -> None:
    clock = Clock()
    async with idling(clock) as (it, idle, envoy):
        await _asked(it, "users")
        _count(envoy, users=500)
        await idle.drop_idle()
        clock.now += IDLE
        _count(envoy, users=2)
        await idle.drop_idle()
        assert len(it.binder.names) == 1


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 x\r\n\r\n", b"HTTP/1.1 200 x\r\n\r\n{"]
)
async def test_an_envoy_that_cannot_say_is_no_reason_to_drop_anything(answer: bytes) -> None:
    clock = Clock()
    async with idling(clock) as (it, idle, envoy):
        await _asked(it, "users")
        clock.now += 100 * IDLE
        envoy.answer = answer
        await idle.drop_idle()
        assert len(it.binder.names) == 1


async def test_refused_names_are_forgotten_after_their_time_unless_somebody_waits() -> None:
    clock = Clock()
    async with idling(clock) as (it, idle, _):
        await _asked(it, "nobody", "users")
        clock.now += NEGATIVE - 0.1
        idle.drop_refused()
        assert len(it.binder.names) == 2
        it.one.silent = True
        waiting = it.ask("waiting")
        waiting.waiters.append(lambda: None)
        clock.now += NEGATIVE
        idle.drop_refused()
        assert {name.key for name in it.binder.names} == {"users", "waiting"}
