"""Against a real Consul; py-consul, a third party, is what changes it. Skipped where there is none."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import consul.aio
import pytest

from discovery.address import Bound, Known, Neg, Protocol, State
from discovery.consul.config import ConsulConfig
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable
from discovery.tls import Tls
from scripts import consul as scripts_consul
from scripts.consul import Agent, agent, find
from tests.discovery.contract import ONE, TWO, Key, SourceContract, Watch, World, keys, watching

pytestmark = pytest.mark.skipif(find() is None, reason="no consul here: `python -m scripts.consul --fetch` says why")

WEB = Path(("dc1", "web"))
ACLS = 'acl { enabled = true\n default_policy = "deny"\n tokens { master = "root-s3cret"\n agent = "root-s3cret" } }'


@asynccontextmanager
async def witness(running: Agent, token: str | None = None) -> AsyncIterator[consul.aio.Consul]:
    with warnings.catch_warnings():
        # py-consul gives aiohttp an argument of old.
        warnings.simplefilter("ignore", DeprecationWarning)
        client = consul.aio.Consul(host="127.0.0.1", port=running.http_port, token=token)
    try:
        yield client
    finally:
        await client.close()


class ConsulWorld(World):
    def __init__(self, running: Agent, client: consul.aio.Consul) -> None:
        self.running, self.client = running, client
        self._known: dict[Path, set[Key]] = {}

    def name(self, label: str) -> Path:
        return Path(("dc1", label))

    async def put(self, name: Path, *endpoints: Key) -> None:
        service, wanted = self.client.agent.service, set(endpoints)
        for address, port in wanted:
            await service.register(name[1], service_id=f"{name[1]}-{address}-{port}", address=address, port=port)
        for address, port in self._known.get(name, set()) - wanted:
            await service.deregister(f"{name[1]}-{address}-{port}")
        self._known[name] = wanted

    async def remove(self, name: Path) -> None:
        await self.put(name)

    async def empty(self, name: Path) -> None:
        await self.put(name, ONE)
        await self.client.agent.service.maintenance(f"{name[1]}-{ONE[0]}-{ONE[1]}", "true")

    async def go_dark(self) -> None:
        await self.running.kill()

    async def come_back(self) -> None:
        await self.running.restart()
        for name, endpoints in self._known.items():
            await self.put(name, *endpoints)


class TestConsulContract(SourceContract):
    lacks = frozenset({"garble", "misconfigure", "halve", "stall", "lose"})

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with agent() as running, witness(running) as client:
            world = ConsulWorld(running, client)
            async with ConsulConfig(address=running.url).open() as source:
                world.source = source
                yield world


@pytest.fixture
async def running() -> AsyncIterator[Agent]:
    async with agent() as started:
        yield started


async def test_what_consul_knows_of_an_instance_reaches_the_endpoint(running: Agent) -> None:
    async with (
        witness(running) as client,
        ConsulConfig(address=running.url).open() as source,
        watching(source, WEB) as watch,
    ):
        await client.agent.service.register(
            "web",
            service_id="1",
            port=80,
            meta={"zone": "a", "protocol": "http2"},
            weights={"Passing": 7, "Warning": 1},
        )
        await watch.sees(("127.0.0.1", 80))
        assert isinstance(watch.latest, Bound)
        (endpoint,) = watch.latest.endpoints
        assert (endpoint.weight, endpoint.zone, endpoint.protocol) == (7.0, "a", Protocol.HTTP2)
        assert endpoint.metadata == (("protocol", "http2"), ("zone", "a"))
        assert endpoint.host


async def test_health_comes_and_goes_with_the_checks(running: Agent) -> None:
    ttl = consul.Check.ttl("60s")
    async with (
        witness(running) as client,
        ConsulConfig(address=running.url).open() as strict,
        ConsulConfig(address=running.url, warning=True).open() as lenient,
        watching(strict, WEB) as passing,
        watching(lenient, WEB) as warning,
    ):
        await client.agent.service.register("web", service_id="1", address=ONE[0], port=ONE[1], check=ttl)
        await passing.sees()
        await client.agent.check.ttl_pass("service:1")
        await passing.sees(ONE)
        await warning.sees(ONE)
        await client.agent.check.ttl_warn("service:1")
        await passing.sees()
        await client.agent.service.register("web", service_id="2", address=TWO[0], port=TWO[1])
        await passing.sees(TWO)
        await warning.sees(ONE, TWO)
        await client.agent.check.ttl_fail("service:1")
        await warning.sees(TWO)
        await client.agent.maintenance(enable=True)
        await passing.sees()
        await client.agent.maintenance(enable=False)
        await passing.sees(TWO)


async def test_a_tag_is_a_part_of_the_name_where_configured(running: Agent) -> None:
    config = ConsulConfig(address=running.url, include_tag=True)
    async with witness(running) as client, config.open() as source:
        await client.agent.service.register("web", service_id="1", address=ONE[0], port=ONE[1], tags=["blue"])
        await client.agent.service.register("web", service_id="2", address=TWO[0], port=TWO[1], tags=["green"])
        async with (
            watching(source, Path(("dc1", "blue", "web"))) as blue,
            watching(source, Path((".local", "green", "web"))) as green,
            watching(source, Path(("dc1", "red", "web"))) as red,
        ):
            await blue.sees(ONE)
            await green.sees(TWO)
            await red.sees_none()
        names = set(await source.names())
    assert {Path(("dc1", "blue", "web")), Path(("dc1", "green", "web"))} <= names


async def test_a_datacenter_nobody_knows_is_an_error_that_says_so(running: Agent) -> None:
    config = ConsulConfig(address=running.url)
    async with config.open() as source, watching(source, Path(("mars", "web"))) as watch:
        error = await watch.ends()
        assert isinstance(error, Unavailable)
        assert "No path to datacenter" in str(error)


@pytest.mark.parametrize("consistency", ["stale", "consistent"])
async def test_every_consistency_is_answered_and_wakes(running: Agent, consistency: str) -> None:
    config = ConsulConfig.model_validate({"kind": "consul", "address": running.url, "consistency": consistency})
    async with witness(running) as client, config.open() as source, watching(source, WEB) as watch:
        await watch.sees_none()
        await client.agent.service.register("web", address=ONE[0], port=ONE[1])
        await watch.sees(ONE)


async def test_a_host_name_as_address_is_resolved(running: Agent) -> None:
    async with witness(running) as client, ConsulConfig(address=running.url).open() as source:
        await client.agent.service.register("web", address="localhost", port=80)
        async with watching(source, WEB) as watch:
            await watch.sees(("127.0.0.1", 80))


async def test_acls_that_deny_are_told_and_never_look_like_an_empty_service(tmp_path: FilePath) -> None:
    token_file = tmp_path / "token"
    async with agent(hcl=ACLS, token="root-s3cret") as running:
        async with ConsulConfig(address=running.url).open() as source, watching(source, WEB) as watch:
            error = await watch.ends()
            assert isinstance(error, Misconfigured)
            assert "no token is configured" in str(error)
            with pytest.raises(Misconfigured, match="no token is configured"):
                await source.names()
        token_file.write_text("wrong-s3cret\n")
        async with ConsulConfig(address=running.url, token_file=token_file).open() as source:
            async with watching(source, WEB) as watch:
                error = await watch.ends()
                assert isinstance(error, Misconfigured)
                assert "s3cret" not in str(error)
            token_file.write_text("root-s3cret\n")
            async with watching(source, WEB) as watch, witness(running, "root-s3cret") as client:
                await watch.sees_none()
                await client.agent.service.register("web", address=ONE[0], port=ONE[1])
                await watch.sees(ONE)


async def test_three_hundred_services_share_the_slots_and_every_change_is_seen(running: Agent) -> None:
    """More than the 200 connections that a Consul agent lets one client have."""
    labels = [f"svc{number}" for number in range(300)]
    async with witness(running) as client, ConsulConfig(address=running.url).open() as source:
        for label in labels:
            await client.agent.service.register(label, address=ONE[0], port=ONE[1])
        watches = {label: Watch() for label in labels}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(watches[label].run(source, Path(("dc1", label)))) for label in labels]
            for watch in watches.values():
                await watch.sees(ONE)
            for label in labels[::25]:
                await client.agent.service.register(label, address=TWO[0], port=TWO[1])
            for label in labels[::25]:
                await watches[label].sees(TWO)
            for task in tasks:
                task.cancel()
    assert [watch.error for watch in watches.values() if watch.error is not None] == []


async def test_abandoned_queries_never_exceed_what_the_agent_allows() -> None:
    """It counts a blocking query until its wait is over, whether or not anybody still listens."""
    async with agent(hcl="limits { http_max_conns_per_client = 30 }") as running:
        config = ConsulConfig(address=running.url, max_watches=10)
        async with witness(running) as client, config.open() as source:
            for label in "abc":
                await client.agent.service.register(label, address=ONE[0], port=ONE[1])
            for _ in range(20):
                for label in "abc":
                    async with watching(source, Path(("dc1", label))) as watch:
                        await watch.sees(ONE)
                        await asyncio.sleep(0.01)
                        assert watch.error is None
            async with watching(source, Path(("dc1", "a"))) as watch:
                await watch.sees(ONE)
                await client.agent.service.register("a", address=TWO[0], port=TWO[1])
                await watch.sees(TWO)
                assert watch.error is None


async def test_a_unix_socket_will_do(tmp_path: FilePath) -> None:
    socket = tmp_path / "consul.sock"
    async with (
        agent(hcl=f'addresses {{ http = "127.0.0.1 unix://{socket}" }}') as running,
        witness(running) as client,
        ConsulConfig(address=f"unix://{socket}").open() as source,
        watching(source, WEB) as watch,
    ):
        await client.agent.service.register("web", address=ONE[0], port=ONE[1])
        await watch.sees(ONE)


async def test_tls_checks_both_sides(tmp_path: FilePath) -> None:
    for words in (["ca", "create"], ["cert", "create", "-server"], ["cert", "create", "-client"]):
        made = await asyncio.create_subprocess_exec(
            str(find()), "tls", *words, cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL
        )
        assert await made.wait() == 0
    (port,) = scripts_consul.free_ports(1)
    server, client_cert = "dc1-server-consul-0", "dc1-client-consul-0"
    hcl = f"""
        ports {{ https = {port} }}
        ca_file = "{tmp_path}/consul-agent-ca.pem"
        cert_file = "{tmp_path}/{server}.pem"
        key_file = "{tmp_path}/{server}-key.pem"
        verify_incoming_https = true
    """
    ca_file = tmp_path / "consul-agent-ca.pem"
    cert_file, key_file = tmp_path / f"{client_cert}.pem", tmp_path / f"{client_cert}-key.pem"
    url = f"https://127.0.0.1:{port}"
    name = "server.dc1.consul"
    good = Tls(ca_file=ca_file, cert_file=cert_file, key_file=key_file, server_name=name)
    async with agent(hcl=hcl) as running, witness(running) as client:
        await client.agent.service.register("web", address=ONE[0], port=ONE[1])
        async with ConsulConfig(address=url, tls=good).open() as source, watching(source, WEB) as watch:
            await watch.sees(ONE)
            await client.agent.service.register("web", address=TWO[0], port=TWO[1])
            await watch.sees(TWO)
        for bad in (
            Tls(ca_file=ca_file, server_name=name),
            Tls(cert_file=cert_file, key_file=key_file, server_name=name),
            Tls(ca_file=ca_file, cert_file=cert_file, key_file=key_file, server_name="elsewhere"),
        ):
            async with ConsulConfig(address=url, tls=bad).open() as source, watching(source, WEB) as watch:
                assert isinstance(await watch.ends(), Unavailable)


async def test_a_consul_that_is_killed_and_forgets_is_observed_again_within_five_seconds(running: Agent) -> None:
    """Its index begins anew below the one that a blocking query was waiting with."""
    states: asyncio.Queue[State] = asyncio.Queue()
    async with witness(running) as client, ConsulConfig(address=running.url).open() as source:
        for number in range(20):
            await client.agent.service.register("other", address=ONE[0], port=1000 + number)
        await client.agent.service.register("web", address=ONE[0], port=ONE[1])
        entry = SourceEntry(Path(("#", "consul")), "consul", 2, source, Settings())
        async with Observatory([entry], lambda _, state: states.put_nowait(state)) as observatory:
            observatory.want(Path(("#", "consul")).then(WEB))
            await _leads_to(states, ONE)
            await running.restart()
            await client.agent.service.register("web", address=TWO[0], port=TWO[1])
            async with asyncio.timeout(5):
                await _leads_to(states, TWO)


async def _leads_to(states: asyncio.Queue[State], key: Key) -> None:
    """The next state that is no held one leads there."""
    while True:
        state = await states.get()
        if isinstance(state, Known) and not state.held and keys(state.addr) == {key}:
            return


async def test_an_observation_of_nothing_is_neg(running: Agent) -> None:
    async with ConsulConfig(address=running.url).open() as source, watching(source, WEB) as watch:
        await watch.sees_none()
        assert watch.published[0] == Neg()
