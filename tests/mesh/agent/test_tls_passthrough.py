"""TLS by server name through a real agent and Envoy: the certificate that callers see is the service's own."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from mesh.agent import envoy_admin
from scripts.ports import free_port
from scripts.running import eventually
from tests import manual
from tests.host import PATIENCE, Host, host, rewrite
from tests.streams import Caller, Echo, call, caller_side, certificate, echo, server_side


@dataclass(frozen=True, slots=True)
class Edge:
    host: Host
    port: int
    trusted: ssl.SSLContext

    async def call(self, server_name: str) -> Caller | None:
        return await call(self.port, self.trusted, server_name)

    async def until(self, server_name: str, greeting: str | None) -> None:
        async def answered() -> bool:
            caller = await self.call(server_name)
            if caller is not None:
                caller.close()
            return (caller.greeting if caller else None) == greeting

        why = f"{server_name} does not reach {greeting}\n{self.host.agent.tail()}"
        await eventually(answered, PATIENCE, why)

    async def asked(self) -> float:
        """How many connections the brain was asked about."""
        _, text = await self.host.agent.ask("/metrics")
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("tieline_resolved_total"))


@pytest.fixture
def made(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    names = {"one": ["one.example.org", "one", "split.example.org"], "two": ["two.example.org", "split.example.org"]}
    return {name: certificate(tmp_path, *said) for name, said in names.items()}


@asynccontextmanager
async def serving(
    made: dict[str, tuple[Path, Path]], dtab: str = "/svc => /#/files", **more: object
) -> AsyncIterator[tuple[Edge, Echo, Echo]]:
    port, trusted = free_port(), caller_side(*(certificate for certificate, _ in made.values()))
    routers = [{"name": "edge", "protocol": "tls", "port": port}]
    async with (
        echo("one", server_side(*made["one"])) as one,
        echo("two", server_side(*made["two"])) as two,
        host(dtab, routers=routers, **more) as started,
    ):
        yield Edge(started, port, trusted), one, two
        await started.no_nacks()


async def test_each_connection_reaches_the_service_of_its_server_name(made: dict[str, tuple[Path, Path]]) -> None:
    async with serving(made) as (edge, one, two):
        edge.host.put("one.example.org", one.port)
        edge.host.put("one", one.port)
        edge.host.put("two.example.org", two.port)
        for name in ("one.example.org", "one", "two.example.org", "ONE.example.org"):
            caller = await edge.call(name)
            assert caller is not None, edge.host.agent.tail()
            assert caller.greeting == name.lower().partition(".")[0]
            sent = os.urandom(100_000).hex()
            assert await caller.say(sent) == sent
            caller.close()
        assert sorted(await edge.host.names()) == ["one", "one.example.org", "two.example.org"]
        said = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.port}", "-servername", "two.example.org"]
        done = await asyncio.to_thread(subprocess.run, said, input=b"", capture_output=True, check=True, timeout=15)
        assert b"CN=two.example.org" in done.stdout.replace(b" ", b"")


async def test_the_first_of_many_at_once_are_all_served_and_the_brain_is_asked_no_more_then(
    made: dict[str, tuple[Path, Path]],
) -> None:
    async with serving(made) as (edge, one, _):
        edge.host.put("one.example.org", one.port)
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(edge.call("one.example.org")) for _ in range(50)]
        for each in calls:
            caller = each.result()
            assert caller is not None
            assert caller.greeting == "one"
            caller.close()
        before = await edge.asked()
        assert before > 0
        await edge.until("one.example.org", "one")
        assert await edge.asked() == before


async def test_a_name_that_leads_nowhere_is_closed_at_once_and_served_when_it_is_there(
    made: dict[str, tuple[Path, Path]],
) -> None:
    async with serving(made, names={"negative": "300ms", "linger": "100ms"}) as (edge, one, _):
        assert await edge.call("one.example.org") is None
        log = edge.host.agent.log.read_text()
        assert "a TLS connection is closed" in log
        assert "no such name: /svc/one.example.org" in log
        assert (await edge.host.json("/explain?name=one.example.org"))["outcome"] == "neg"
        edge.host.put("one.example.org", one.port)
        await edge.until("one.example.org", "one")
        caller = await edge.call("one.example.org")
        assert caller is not None
        edge.host.put("one.example.org")
        await edge.until("one.example.org", None)
        assert "no endpoints for /svc/one.example.org" in edge.host.agent.log.read_text()
        assert await caller.say("still there") == "still there"
        edge.host.put("one.example.org", one.port)
        await edge.until("one.example.org", "one")
        assert await caller.say("still there") == "still there"
        edge.host.remove("one.example.org")
        await edge.until("one.example.org", None)
        await eventually(lambda: gone(edge, "edge+one.example.org"), PATIENCE, "its cluster stays")
        assert await caller.say("still there") == "still there"
        caller.close()


async def gone(edge: Edge, cluster: str) -> bool:
    return cluster.encode() not in await envoy_admin.get(edge.host.agent.folder / "run" / "envoy.sock", "/clusters")


async def test_what_is_no_tls_or_says_no_name_is_closed_and_reaches_no_service(
    made: dict[str, tuple[Path, Path]],
) -> None:
    async with serving(made) as (edge, one, _):
        edge.host.put("one.example.org", one.port)
        await edge.until("one.example.org", "one")
        taken = one.taken
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: one.example.org\r\n\r\n")
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        nameless.check_hostname, nameless.verify_mode = False, ssl.CERT_NONE
        assert await call(edge.port, nameless) is None
        assert one.taken == taken
        assert "no TLS, or a ClientHello without a server name" in edge.host.agent.log.read_text()


async def test_a_split_shifts_and_open_connections_stay(made: dict[str, tuple[Path, Path]]) -> None:
    name = "split.example.org"
    async with serving(made, f"/svc/{name} => 3 * /#/files/one & 1 * /#/files/two") as (edge, one, two):
        edge.host.put("one", one.port)
        edge.host.put("two", two.port)
        await edge.until(name, "one")
        await edge.until(name, "two")
        callers = [await edge.call(name) for _ in range(200)]
        found = [each for each in callers if each]
        assert 120 <= sum(each.greeting == "one" for each in found) <= 180
        before = edge.host.agent.children()["brain"]
        rewrite(edge.host.agent.config, dtab=f"/svc/{name} => /#/files/two")
        edge.host.agent.process.send_signal(signal.SIGHUP)
        await eventually(lambda: edge.host.agent.children().get("brain", before) != before, PATIENCE, "no new brain")
        await edge.host.agent.until_ready()
        late = [each for each in [await edge.call(name) for _ in range(20)] if each]
        assert [each.greeting for each in late] == ["two"] * 20
        for each in (*found, *late):
            assert await each.say("still there") == "still there"
            each.close()


async def test_bound_names_outlive_the_brain(made: dict[str, tuple[Path, Path]]) -> None:
    async with serving(made) as (edge, one, two):
        edge.host.put("one.example.org", one.port)
        edge.host.put("two.example.org", two.port)
        await edge.until("one.example.org", "one")
        caller = await edge.call("one.example.org")
        assert caller is not None
        brain = edge.host.agent.children()["brain"]
        os.kill(brain, signal.SIGKILL)
        await edge.until("one.example.org", "one")
        await eventually(lambda: edge.host.agent.children().get("brain", brain) != brain, PATIENCE, "no new brain")
        await edge.host.agent.until_ready()
        before = await edge.asked()
        await edge.until("one.example.org", "one")
        assert await edge.asked() == before, "the new brain had Envoy forget it"
        await edge.until("two.example.org", "two")
        assert await caller.say("still there") == "still there"
        caller.close()


async def test_an_idle_name_is_forgotten_and_bound_again_and_one_with_an_open_connection_is_not(
    made: dict[str, tuple[Path, Path]],
) -> None:
    async with serving(made, names={"idle": "500ms", "linger": "100ms"}) as (edge, one, two):
        edge.host.put("one.example.org", one.port)
        edge.host.put("two.example.org", two.port)
        caller = await edge.call("one.example.org")
        assert caller is not None
        await edge.until("two.example.org", "two")

        async def forgotten() -> bool:
            return list(await edge.host.names()) == ["one.example.org"]

        await eventually(forgotten, PATIENCE, "the idle name is kept")
        assert await caller.say("still there") == "still there"
        caller.close()
        await edge.until("two.example.org", "two")


async def test_a_policy_for_a_server_name_holds_for_it_alone(made: dict[str, tuple[Path, Path]]) -> None:
    policies = [{"match": "/svc/one.example.org", "timeout": {"idle": "300ms"}}]
    async with serving(made, policies=policies) as (edge, one, two):
        edge.host.put("one.example.org", one.port)
        edge.host.put("two.example.org", two.port)
        await edge.until("one.example.org", "one")
        await edge.until("two.example.org", "two")
        short, long = await edge.call("one.example.org"), await edge.call("two.example.org")
        assert short is not None
        assert long is not None
        async with asyncio.timeout(PATIENCE):
            assert await short.reader.read(1) == b"", "it was silent for longer than it may"
        assert await long.say("still there") == "still there"
        short.close()
        long.close()


async def test_the_example_of_the_manual(made: dict[str, tuple[Path, Path]]) -> None:
    blocks = [block for block in manual.blocks(manual.ROOT / "docs" / "traffic.md") if "protocol: tls" in block.text]
    (example,) = (yaml.safe_load(block.text) for block in blocks)
    (router,) = example["routers"]
    router["port"] = free_port()
    async with echo("one", server_side(*made["one"])) as one, host(example["dtab"], routers=[router]) as started:
        started.put("users-tls", one.port)
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        caller = await call(router["port"], unchecked, "users.example.org")
        assert caller is not None
        assert caller.greeting == "one"
        caller.close()
        await started.no_nacks()
