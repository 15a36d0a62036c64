"""Two platforms behind one name: Consul, which dies, lies and returns, and files. Callers must not notice."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from demo.calls import load
from scripts.consul import Agent, agent, find
from scripts.ports import free_ports
from scripts.running import eventually, service
from tests.catalogue import Catalogue, fake_at, sources
from tests.fakes.consul import FakeConsul, fake_consul, instance
from tests.host import PATIENCE, Host, host, running

DTAB = "/svc => /#/consul/dc1 | /#/files"
needs_consul = pytest.mark.skipif(find() is None, reason="no consul here: `python -m scripts.consul --fetch` says why")
Json = dict[str, Any]


@asynccontextmanager
async def over_consul(**more: object) -> AsyncIterator[tuple[Host, Agent, Catalogue]]:
    async with agent() as consul, host(DTAB, sources=sources(consul.url), **more) as started:
        yield started, consul, Catalogue(consul)


async def _known(started: Host, name: str, id: str) -> Json:
    found: Json = (await _explained(started, name))["endpoints"].get(id, {})
    return found


async def _explained(started: Host, name: str) -> Json:
    return await started.json(f"/explain?name={name}")


async def _source(started: Host) -> Json:
    rows: Any = (await started.json("/status"))["sources"]
    return dict(rows[0])


async def _until_held(started: Host, name: str = "users") -> Json:
    id = f"/#/consul/dc1/{name}"

    async def held() -> bool:
        return bool((await _known(started, name, id)).get("held"))

    await eventually(held, PATIENCE, f"{id} is not held")
    return await _known(started, name, id)


@needs_consul
async def test_a_name_moves_between_consul_and_files_and_back_without_a_failed_request() -> None:
    async with over_consul() as (started, _, catalogue), service("consul") as one, service("files") as two:
        await catalogue.register("users", one)
        started.put("users", two)
        await started.until("users", "consul")
        async with load(started.agent.url, "users") as seen:
            for _ in range(2):
                await catalogue.deregister("users", one)
                assert await seen.until_answered_by("files", PATIENCE), started.agent.tail()
                await catalogue.register("users", one)
                assert await seen.until_answered_by("consul", PATIENCE), started.agent.tail()
        assert not seen.failed
        await started.no_nacks()


@needs_consul
async def test_rule_2_a_consul_killed_under_load_costs_no_request_and_explain_says_so() -> None:
    async with over_consul() as (started, consul, catalogue), service("consul") as one, service("files") as two:
        await catalogue.register("users", one)
        started.put("users", two)
        await started.until("users", "consul")
        async with load(started.agent.url, "users") as seen:
            await consul.kill()
            known = await _until_held(started)
            assert "Consul at" in known["held"]
            age = (await _source(started))["oldest_confirmed_seconds"]
            count = seen.answers["consul"]
            await eventually(lambda: seen.answers["consul"] > count + 200, PATIENCE, "the load stopped")
            row = await _source(started)
        assert not seen.failed
        assert set(seen.answers) == {"consul"}
        assert row["state"] == "held"
        assert row["oldest_confirmed_seconds"] > age
        assert time.time() - known["confirmed_at"] > 0
        explained = await _explained(started, "users")
        assert explained["outcome"] == "bound"
        assert (await started.names())["users"]["held"]


@needs_consul
async def test_rule_2_a_consul_that_returns_empty_is_held_until_confirmed_then_the_alternate_serves() -> None:
    async with over_consul() as (started, consul, catalogue), service("consul") as one, service("files") as two:
        await catalogue.register("users", one)
        started.put("users", two)
        await started.until("users", "consul")
        async with load(started.agent.url, "users") as seen:
            await consul.restart()

            async def suspected() -> bool:
                held = (await _known(started, "users", "/#/consul/dc1/users")).get("held") or ""
                return "vanished" in held

            await eventually(suspected, PATIENCE, f"the loss was not noticed\n{started.agent.tail()}")
            assert set(seen.answers) == {"consul"}
            assert await seen.until_answered_by("files", PATIENCE), started.agent.tail()
            await catalogue.register("users", one)
            assert await seen.until_answered_by("consul", PATIENCE), started.agent.tail()
        assert not seen.failed
        await started.no_nacks()


@needs_consul
async def test_a_consul_that_returns_with_its_services_before_the_loss_is_confirmed_was_never_missed() -> None:
    async with over_consul() as (started, consul, catalogue), service("consul") as one, service("files") as two:
        await catalogue.register("users", one)
        started.put("users", two)
        await started.until("users", "consul")
        async with load(started.agent.url, "users") as seen:
            await consul.restart()
            await catalogue.register("users", one)

            async def fresh() -> bool:
                row = await _source(started)
                return bool(row["state"] == "ok" and row["oldest_confirmed_seconds"] < 1)

            await eventually(fresh, PATIENCE, f"the returned Consul is not believed\n{started.agent.tail()}")
        assert not seen.failed
        assert set(seen.answers) == {"consul"}


@needs_consul
async def test_a_service_that_is_critical_everywhere_is_503_or_its_alternate_never_404() -> None:
    async with over_consul() as (started, _, catalogue), service("consul") as one, service("files") as two:
        for name in ("alone", "users"):
            await catalogue.register(name, one)
        started.put("users", two)
        await started.until("alone", "consul")
        await started.until("users", "consul")
        statuses = set()

        async def refused() -> bool:
            answer = await started.call("alone")
            statuses.add(answer.status)
            return answer.err == "no endpoints for /svc/alone"

        for name in ("alone", "users"):
            await catalogue.maintain(name, one, on=True)
        await eventually(refused, PATIENCE, f"a critical service is not refused: {statuses}")
        await started.until("users", "files")
        assert statuses == {200, 503}
        assert (await _explained(started, "alone"))["outcome"] == "empty"
        for name in ("alone", "users"):
            await catalogue.maintain(name, one, on=False)
        await started.until("alone", "consul")
        await started.until("users", "consul")
        await started.no_nacks()


@needs_consul
async def test_an_agent_started_while_consul_is_down_serves_the_alternate_and_then_consul() -> None:
    async with agent() as consul:
        await consul.kill()
        async with host(DTAB, sources=sources(consul.url)) as started, service("c") as one, service("files") as two:
            started.put("users", two)
            assert (await started.call("users")).body == "files"
            answer = await started.call("alone")
            assert answer.status == 503
            assert answer.err.startswith("can't tell whether /svc/alone exists")
            assert "Consul at" in answer.body
            assert (await _source(started))["state"] == "failed"
            assert (await started.call("nobody")).status == 503
            await consul.start()
            catalogue = Catalogue(consul)
            async with load(started.agent.url, "users") as seen:
                await catalogue.register("users", one)
                await catalogue.register("alone", one)
                assert await seen.until_answered_by("c", PATIENCE), started.agent.tail()
            assert not seen.failed
            await started.until("alone", "c")

            async def known_not_to_exist() -> bool:
                return (await started.call("nobody")).status == 404

            # Each name is asked for again at a time of its own.
            await eventually(known_not_to_exist, PATIENCE, "nobody is still unknown")


@needs_consul
async def test_a_consul_that_is_stopped_in_the_middle_is_held() -> None:
    """It accepts connections and says nothing: the time limits have to notice."""
    async with over_consul() as (started, consul, catalogue), service("consul") as one:
        await catalogue.register("users", one)
        await started.until("users", "consul")
        assert consul.process is not None
        async with load(started.agent.url, "users") as seen:
            consul.process.send_signal(signal.SIGSTOP)
            known = await _until_held(started)
            consul.process.send_signal(signal.SIGCONT)

            async def fresh() -> bool:
                return not (await _known(started, "users", "/#/consul/dc1/users"))["held"]

            await eventually(fresh, PATIENCE, "the woken Consul is not believed")
        assert "has not answered" in known["held"]
        assert not seen.failed


@needs_consul
async def test_scaling_to_ten_and_back_under_load_fails_nothing() -> None:
    async with over_consul() as (started, _, catalogue), service("consul") as one:
        await catalogue.register("users", one)
        await started.until("users", "consul")
        async with load(started.agent.url, "users") as seen, asyncio.TaskGroup() as tasks:
            leave, ports = asyncio.Event(), asyncio.Queue[int]()

            async def serve() -> None:
                async with service("consul") as port:
                    ports.put_nowait(port)
                    await leave.wait()

            for _ in range(9):
                tasks.create_task(serve())
            more = [await ports.get() for _ in range(9)]
            for port in more:
                await catalogue.register("users", port)
            await _until_endpoints(started, 10)
            for port in more:
                await catalogue.deregister("users", port)
            await _until_endpoints(started, 1)
            leave.set()
        assert not seen.failed


async def _until_endpoints(started: Host, count: int) -> None:
    async def so_many() -> bool:
        return (await started.names())["users"]["endpoints"] == count

    await eventually(so_many, PATIENCE, f"there are not {count} endpoints")


@asynccontextmanager
async def over_fake(**consul: object) -> AsyncIterator[tuple[Host, FakeConsul]]:
    async with fake_consul() as fake, host(DTAB, sources=sources(fake.url, **consul)) as started:
        yield started, fake


TROUBLES = [
    pytest.param(403, b"Permission denied", "403", id="forbidden"),
    pytest.param(500, b"rpc error: no cluster leader", "no cluster leader", id="no leader"),
    pytest.param(404, b"<html>not here</html>", "404", id="another server"),
    pytest.param(200, b'[{"Node": {"Node": "n"', "makes no sense", id="half an answer"),
    pytest.param(200, b"null", "makes no sense", id="null"),
    pytest.param(200, b'{"error": "not a list"}', "makes no sense", id="another shape"),
]


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Host, int]]:
    """One host for all troubles; each test starts its Consul where the host asks for it."""
    (port,) = free_ports(1)
    with running(DTAB, sources=sources(f"http://127.0.0.1:{port}")) as started:
        asyncio.run(started.agent.until_ready())
        yield started, port
        asyncio.run(started.no_nacks())


@pytest.mark.parametrize(("status", "body", "said"), TROUBLES)
async def test_rule_2_what_consul_says_in_trouble_never_means_gone(
    shared: tuple[Host, int], request: pytest.FixtureRequest, status: int, body: bytes, said: str
) -> None:
    started, port = shared
    name, never = (f"{label}-{request.node.callspec.id.replace(' ', '-')}" for label in ("users", "never"))
    async with fake_at(port) as fake, service("consul") as one, service("files") as two:
        fake.put(name, instance("127.0.0.1", one))
        started.put(name, two)
        await started.until(name, "consul")
        async with load(started.agent.url, name, callers=2) as seen:
            fake.status = status
            fake.garble(never, body)
            fake.garble(name, body)
            known = await _until_held(started, name)
            answer = await started.call(never)
            count = seen.answers["consul"]
            await eventually(lambda: seen.answers["consul"] > count + 100, PATIENCE, "the load stopped")
        assert said in known["held"]
        assert not seen.failed
        assert set(seen.answers) == {"consul"}
        assert answer.status == 503
        assert "can't tell" in answer.err
        assert said in answer.body


async def test_an_index_that_goes_back_or_is_missing_loses_no_change() -> None:
    async with over_fake() as (started, fake), service("one") as one, service("two") as two:
        fake.put("users", instance("127.0.0.1", one), index=1000)
        await started.until("users", "one")
        async with load(started.agent.url, "users", callers=2) as seen:
            fake.put("users", instance("127.0.0.1", two), index=3)
            assert await seen.until_answered_by("two", PATIENCE)
            fake.index = None
            fake.put("users", instance("127.0.0.1", one))
            assert await seen.until_answered_by("one", PATIENCE)
        assert not seen.failed


async def test_nobody_listens_where_consul_should_be_and_the_names_of_the_table_are_not_lost() -> None:
    (port,) = free_ports(1)
    async with host(DTAB, sources=sources(f"http://127.0.0.1:{port}")) as started, service("files") as two:
        started.put("users", two)
        assert (await started.call("users")).body == "files"
        status, text = await started.agent.ask("/names?all=1")
        assert status == 200
        assert f"127.0.0.1:{port}" in text
