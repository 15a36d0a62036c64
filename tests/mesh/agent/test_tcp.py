"""Raw TCP through a real agent and Envoy: one router, one name."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import yaml

from scripts.ports import free_port
from scripts.running import TIELINE, agent, eventually, folder
from tests import manual
from tests.host import PATIENCE, Host, host, rewrite, settings
from tests.streams import Caller, call, echo

DTAB = "/svc => /#/files"


def router(name: str, to: str, **more: object) -> dict[str, object]:
    return {"name": name, "protocol": "tcp", "to": to, "port": free_port(), **more}


def port(started: Host, name: str = "db") -> int:
    routers = yaml.safe_load(started.agent.config.read_text())["routers"]
    return next(int(each["port"]) for each in routers if each["name"] == name)


@asynccontextmanager
async def tcp(dtab: str = DTAB, to: str = "db", **more: object) -> AsyncIterator[Host]:
    async with host(dtab, routers=[router("db", to)], **more) as started:
        yield started
        await started.no_nacks()


async def until(started: Host, greeting: str | None) -> None:
    """Until a new connection is answered by this service; None: is closed."""

    async def answered() -> bool:
        return await call_and_close(started) == greeting

    await eventually(answered, PATIENCE, f"connections do not reach {greeting}\n{started.agent.tail()}")


async def greetings(started: Host, number: int) -> tuple[Counter[str], list[Caller]]:
    callers = [await call(port(started)) for _ in range(number)]
    reached = [each for each in callers if each is not None]
    assert len(reached) == number
    return Counter(each.greeting for each in reached), reached


async def until_endpoints(started: Host, number: int) -> None:
    async def known() -> bool:
        return (await started.names())["/svc/db"]["endpoints"] == number

    await eventually(known, PATIENCE, f"/svc/db has not {number} endpoints")


async def test_a_server_that_speaks_first_a_long_transfer_and_a_half_closed_connection() -> None:
    async with echo("one") as one, tcp() as started:
        started.put("db", one.port)
        await until(started, "one")
        caller = await call(port(started))
        assert caller is not None
        assert await caller.say("hello") == "hello"
        sent = os.urandom(20_000_000)

        async def send() -> None:
            caller.writer.write(sent)
            await caller.writer.drain()
            caller.writer.write_eof()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            heard = await caller.reader.read(-1)
        assert heard == sent + b"bye\n", "what came after the caller's end was lost, or something on the way"
        caller.close()


async def test_many_connections_at_once() -> None:
    async with echo("one") as one, tcp() as started:
        started.put("db", one.port)
        await until(started, "one")
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(call(port(started))) for _ in range(500)]
        callers = [each.result() for each in calls]
        for number, caller in enumerate(callers):
            assert caller is not None
            assert await caller.say(f"{number}\n") == f"{number}\n"
            caller.close()


async def test_weights_hold_by_count_and_a_shift_keeps_open_connections() -> None:
    dtab = "/svc/db => 3 * /#/files/one & 1 * /#/files/two"
    async with echo("one") as one, echo("two") as two, tcp(dtab) as started:
        started.put("one", one.port)
        started.put("two", two.port)
        await until_endpoints(started, 2)
        await until(started, "one")
        await until(started, "two")
        found, callers = await greetings(started, 400)
        metrics = (await started.agent.ask("/metrics"))[1]
        assert 'tieline_bound_connections{bound="db+/svc/db"} 400.0' in metrics
        assert 260 <= found["one"] <= 340, found
        rewrite(started.agent.config, dtab="/svc/db => 1 * /#/files/one & 99 * /#/files/two")
        await reload(started)
        found, more = await greetings(started, 200)
        assert found["two"] >= 180, found
        # The second shift takes a branch away as a whole, and its instance from the name.
        rewrite(started.agent.config, dtab="/svc/db => /#/files/two")
        await reload(started)
        found, last = await greetings(started, 50)
        assert found == {"two": 50}
        for caller in (*callers, *more, *last):
            assert await caller.say("still there") == "still there"
            caller.close()


async def reload(started: Host) -> None:
    before = started.agent.children()["brain"]
    started.agent.process.send_signal(signal.SIGHUP)
    await eventually(lambda: started.agent.children().get("brain", before) != before, PATIENCE, "no new brain")
    await started.agent.until_ready()


async def test_the_next_alternative_serves_when_the_first_has_no_endpoint_and_the_first_when_it_is_back() -> None:
    async with echo("one") as one, echo("two") as two, tcp("/svc/db => /#/files/one | /#/files/two") as started:
        started.put("one", one.port)
        started.put("two", two.port)
        await until(started, "one")
        open_now = await call(port(started))
        assert open_now is not None
        started.put("one")
        await until(started, "two")
        assert await open_now.say("still there") == "still there"
        open_now.close()
        started.put("one", one.port)
        await until(started, "one")


async def test_with_failover_the_next_alternative_serves_while_the_first_refuses_connections() -> None:
    """The source goes on saying that the first is there."""
    dtab, ejection = "/svc/db => /#/files/one | /#/files/two", {"interval": "100ms", "base_time": "500ms"}
    policies = [{"match": "/svc/db", "failover": True, "ejection": ejection}]
    async with echo("two") as two, tcp(dtab, policies=policies) as started:
        async with echo("one") as one:
            dead = one.port
            started.put("one", dead)
            started.put("two", two.port)
            await until_endpoints(started, 2)
            await until(started, "one")
            found, callers = await greetings(started, 20)
            assert found == {"one": 20}
            for caller in callers:
                caller.close()
        found, callers = await greetings(started, 20)
        assert found == {"two": 20}
        for caller in callers:
            caller.close()
        async with echo("one", port=dead):
            await until(started, "one")


async def test_a_connection_is_closed_at_once_while_its_name_leads_nowhere_and_why_is_said() -> None:
    async with echo("one") as one, tcp() as started:
        assert await call(port(started)) is None
        log = started.agent.log.read_text()
        assert "connections are closed at once" in log
        assert "/svc/db" in log
        row = (await started.names())["/svc/db"]
        assert (row["router"], row["path"], row["bound"], row["endpoints"]) == ("db", "/svc/db", "~", 0)
        assert (await explained(started))["outcome"] == "neg"
        told = ["explain", "db", "--router", "db", "-c", str(started.agent.config)]
        done = await asyncio.to_thread(subprocess.run, [TIELINE, *told], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[0] == "db (router db): no such name: connections are closed"
        started.put("db", one.port)
        await until(started, "one")
        caller = await call(port(started))
        assert caller is not None
        answer = await explained(started)
        assert answer["outcome"] == "bound"
        assert [(each["has"], each["key"]) for each in answer["proxies"]] == [(True, "/svc/db")]  # type: ignore[attr-defined]
        started.put("db")
        await until(started, None)
        assert (await explained(started))["outcome"] == "empty"
        assert await caller.say("still there") == "still there"
        started.remove("db")
        await eventually(lambda: outcome(started, "neg"), PATIENCE, "the name is still there")
        assert await caller.say("still there") == "still there"
        caller.close()


async def explained(started: Host, name: str = "db") -> dict[str, object]:
    return await started.json(f"/explain?name={name}&router=db")


async def outcome(started: Host, expected: str) -> bool:
    return (await explained(started))["outcome"] == expected


async def test_what_is_bound_outlives_the_brain_and_is_not_withdrawn_by_the_next_one() -> None:
    async with echo("one") as one, tcp(names={"linger": "100ms"}) as started:
        started.put("db", one.port)
        await until(started, "one")
        caller = await call(port(started))
        assert caller is not None
        brain = started.agent.children()["brain"]
        os.kill(brain, signal.SIGKILL)
        again = await call(port(started))
        assert again is not None
        await eventually(lambda: started.agent.children().get("brain", brain) != brain, PATIENCE, "no new brain")
        await started.agent.until_ready()
        for each in (caller, again, await call(port(started))):
            assert each is not None
            assert await each.say("still there") == "still there"
            each.close()
        assert (await started.names())["/svc/db"]["endpoints"] == 1


async def test_a_name_whose_source_does_not_answer_a_new_brain_is_served_as_before() -> None:
    async with echo("one") as one, tcp() as started:
        started.put("db", one.port)
        await until(started, "one")
        # The disk does not know it any more, and the source is unreadable.
        brain = started.agent.children()["brain"]
        for file in (started.agent.folder / "state").iterdir():
            file.unlink()
        started.put("db", lines="no address\n")
        os.kill(brain, signal.SIGKILL)
        await eventually(lambda: started.agent.children().get("brain", brain) != brain, PATIENCE, "no new brain")
        await started.agent.until_ready()

        async def adopted() -> bool:
            row = (await started.names())["/svc/db"]
            return any("earlier brain" in str(each) for each in row["held"])  # type: ignore[attr-defined]

        await eventually(adopted, PATIENCE, "the name is not adopted")
        await until(started, "one")
        started.put("db", one.port)
        await eventually(lambda: _bound(started), PATIENCE, "the name is not bound again")
        await until(started, "one")


async def _bound(started: Host) -> bool:
    return (await started.names())["/svc/db"]["bound"] == "/#/files/db"


async def test_a_dead_endpoint_costs_no_connection() -> None:
    policies = [{"match": "/svc/db", "ejection": {"interval": "100ms", "base_time": "500ms"}}]
    async with echo("one") as one, tcp(policies=policies) as started:
        started.put("db", one.port, free_port())
        await until(started, "one")
        for _ in range(20):
            assert await call_and_close(started) == "one"
            await eventually(lambda: not one.open, PATIENCE, "the connection stays open")


async def test_idle_connections_are_closed_and_there_are_no_more_than_a_policy_says() -> None:
    policies = [{"match": "/svc/db", "timeout": {"idle": "300ms"}, "limits": {"connections": 2}}]
    async with echo("one") as one, tcp(policies=policies) as started:
        started.put("db", one.port)
        await until(started, "one")
        await eventually(lambda: not one.open, PATIENCE, "the connection stays open")
        first, second, third = await call(port(started)), await call(port(started)), await call(port(started))
        assert first is not None
        assert second is not None
        assert third is None, "there may be two connections at once"
        for caller in (first, second):
            async with asyncio.timeout(PATIENCE):
                assert await caller.reader.read(1) == b"", "it was silent for longer than it may"
            caller.close()


async def test_one_caller_reaches_one_endpoint_if_a_policy_says_so_and_a_health_check_takes_the_dead_one_away() -> None:
    near = {"balancing": {"policy": "maglev", "hash_on": [{"source": True}]}}
    checked = {"health_check": {"protocol": "tcp", "interval": "100ms", "unhealthy_after": 1}, "ejection": None}
    policies = [{"match": "/svc/db", **near, **checked, "retries": {"num_retries": 0}}]
    async with tcp(policies=policies) as started, echo("two") as two:
        async with echo("one") as one:
            dead = one.port
            started.put("db", one.port, two.port)
            await until_endpoints(started, 2)
            await until_connected(started)
            found, callers = await greetings(started, 20)
            assert len(found) == 1, "one caller reached both"
            for caller in callers:
                caller.close()
        started.put("db", dead, two.port)
        # Neither a retry nor an ejection would help.
        await until(started, "two")
        found, callers = await greetings(started, 20)
        assert found == {"two": 20}
        for caller in callers:
            caller.close()


async def until_connected(started: Host) -> None:
    async def connected() -> bool:
        return await call_and_close(started) is not None

    await eventually(connected, PATIENCE, f"no connection is served\n{started.agent.tail()}")


async def test_a_port_that_is_taken_is_told_with_the_name_and_the_rest_is_served() -> None:
    async with echo("one") as one, echo("two") as squatter:
        routers = [{"name": "http", "port": free_port()}, router("db", "db") | {"port": squatter.port}]
        with folder() as place, agent(place, settings(place / "disco", DTAB, {"routers": routers})) as started:
            it = Host(started, place / "disco")
            it.put("db", one.port)

            async def told() -> list[tuple[str, list[str]]]:
                nacks = (await it.json("/status"))["nacks"]
                assert isinstance(nacks, list)
                return [(each["resource"], each["because"]) for each in nacks]

            async def answers() -> bool:
                return started.admin.exists() and bool(await told())

            await eventually(answers, PATIENCE, "no port was refused")
            ((refused, because),) = await told()
            assert refused == "db"
            assert because[0].startswith("/svc/db by /svc => /#/files (line ")
            assert (await it.names())["/svc/db"]["endpoints"] == 1
            caller = await call(squatter.port)
            assert caller is not None
            caller.close()


async def test_a_restarted_agent_serves_from_its_disk_while_its_source_is_away() -> None:
    async with echo("one") as one:
        routers = [router("db", "db")]
        with folder() as place:
            configured = settings(place / "disco", DTAB, {"routers": routers})
            with agent(place, configured) as first:
                it = Host(first, place / "disco")
                it.put("db", one.port)
                await first.until_ready()
                await until(it, "one")

                async def written() -> bool:
                    snapshot = (await it.json("/status"))["snapshot"]
                    assert isinstance(snapshot, dict)
                    return snapshot["written_at"] is not None

                await eventually(written, PATIENCE, "the snapshot was not written")
            (place / "disco").rename(place / "away")
            with agent(place, configured) as second:
                await second.until_ready()
                await until(Host(second, place / "disco"), "one")


async def test_a_name_by_its_path_beside_an_http_router_never_grows_idle() -> None:
    async with echo("one") as one:
        other = {"name": "http", "port": free_port()}
        tcp_router = router("db", "/other/db")
        dtab = "/other => /#/files"
        async with host(dtab, routers=[other, tcp_router], names={"idle": "300ms", "negative": "300ms"}) as started:
            started.put("db", one.port)
            await until(started, "one")

            async def idle() -> bool:
                idle_seconds = (await started.names())["/other/db"]["idle_seconds"]
                assert isinstance(idle_seconds, float)
                return idle_seconds > 1.5

            await eventually(idle, PATIENCE, "its idle time does not grow")
            await until(started, "one")
            done = subprocess.run(
                [TIELINE, "explain", "/other/db", "--router", "db", "-c", str(started.agent.config), "-o", "json"],
                check=True,
                capture_output=True,
            )
            assert json.loads(done.stdout)["router"] == "db"
            await started.no_nacks()


async def test_open_connections_outlive_envoy_by_as_long_as_the_drain_takes() -> None:
    async with echo("one") as one, tcp(envoy={"drain": "3s"}) as started:
        started.put("db", one.port)
        await until(started, "one")
        caller = await call(port(started))
        assert caller is not None
        before = started.agent.children()["envoy"]
        rewrite(started.agent.config, envoy={"drain": "3s", "log_level": "error", "concurrency": 1})
        started.agent.process.send_signal(signal.SIGHUP)
        await eventually(lambda: started.agent.children().get("envoy", before) != before, PATIENCE, "no new Envoy")
        assert await caller.say("still there") == "still there"
        await until(started, "one")
        caller.close()
        await started.agent.until_ready()


async def test_a_reload_that_changes_what_holds_for_connections_serves_new_ones_at_once() -> None:
    async with echo("one") as one, tcp() as started:
        started.put("db", one.port)
        await until(started, "one")
        caller = await call(port(started))
        assert caller is not None
        rewrite(started.agent.config, policies=[{"match": "/svc/db", "timeout": {"idle": "2h"}}])
        await reload(started)
        assert await call_and_close(started) == "one"
        # Its filter chain is gone, and drained.
        async with asyncio.timeout(PATIENCE):
            assert await caller.reader.read(1) == b""
        caller.close()


async def call_and_close(started: Host) -> str | None:
    caller = await call(port(started))
    if caller is not None:
        caller.close()
    return caller.greeting if caller else None


async def test_the_example_of_the_manual() -> None:
    blocks = [block for block in manual.blocks(manual.ROOT / "docs" / "traffic.md") if "protocol: tcp" in block.text]
    (example,) = (yaml.safe_load(block.text) for block in blocks)
    for each in example["routers"]:
        each["port"] = free_port()
    more = {key: example[key] for key in ("routers", "policies")}
    async with echo("a") as a, echo("b") as b, echo("old") as old, host(example["dtab"], **more) as started:
        started.put("postgres-a", a.port)
        started.put("postgres-b", b.port)
        started.put("postgres-old", old.port)

        async def reaches(*names: str) -> bool:
            caller = await call(port(started, "postgres"))
            if caller is not None:
                caller.close()
            return caller is not None and caller.greeting in names

        await eventually(lambda: reaches("b"), PATIENCE, "the tenth part does not come")
        started.put("postgres-a")
        started.put("postgres-b")
        await eventually(lambda: reaches("old"), PATIENCE, "the old one does not serve")
        await started.no_nacks()
