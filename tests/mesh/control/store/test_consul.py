"""The contract with a real Consul on disk, and what its ACLs do. Skipped where there is none."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path as File

import aiohttp
import pytest

from discovery.tls import Tls
from mesh.control.store.config import ConsulStoreConfig
from mesh.control.store.protocol import Refused, Store, Unavailable, Unreadable
from scripts.consul import Agent, agent, find
from scripts.ports import free_ports
from tests.mesh.control.store.contract import GONE, Server, ServerContract, World, table, watching
from tests.mesh.control.store.worlds import ConsulWorld, kept

pytestmark = pytest.mark.skipif(find() is None, reason="no consul here: `python -m scripts.consul --fetch` says why")

ROOT = "root-s3cret"
ACLS = f'acl {{ enabled = true\n default_policy = "deny"\n tokens {{ master = "{ROOT}"\n agent = "{ROOT}" }} }}'


@pytest.fixture(scope="module")
def shared() -> Iterator[Agent]:
    with kept(agent(durable=True)) as running:
        yield running


class TestConsulContract(ServerContract):
    @pytest.fixture(autouse=True)
    def _shared(self, shared: Agent) -> None:
        self.shared = shared

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        yield ConsulWorld(self.shared)

    @asynccontextmanager
    async def server(self) -> AsyncIterator[Server]:
        async with agent(durable=True) as running:
            yield ConsulWorld(running, timeout=1.0)


@pytest.fixture
async def world(shared: Agent) -> ConsulWorld:
    return ConsulWorld(shared)


async def test_a_head_that_was_removed_is_told_and_its_numbers_are_not_used_again(world: ConsulWorld) -> None:
    async with world.open() as store:
        await store.put("default", table("a"), "any")
        second = await store.put("default", table("b"), "any")
        async with watching(store) as watcher:
            await world.write(f"{world.prefix}/heads/default", None)
            await watcher.until(lambda self: isinstance(self.latest["default"], Unreadable), "an error")
            assert "is gone" in str(watcher.latest["default"])
            third = await store.put("default", table("c"), "absent")
            assert third.number == 3
            await watcher.sees(third)
        assert (await store.history("default"))[1] == second


async def test_a_head_that_is_older_than_its_history_leads_to_a_number_of_its_own(world: ConsulWorld) -> None:
    async with world.open() as store:
        for name in "abc":
            await store.put("default", table(name), "any")
        await world.write(f"{world.prefix}/heads/default", b'{"number": 1}')
        assert (await store.put("default", table("d"), 1)).number == 4


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("heads/broken", b'{"number": "1"}', "heads/broken"),
        ("heads/broken", b'{"number": 77}', "history/broken/0000000077"),
        ("heads/broken", b"", "heads/broken"),
        ("history/broken/0000000001", b"garbage", "history/broken/0000000001"),
        ("history/broken/0000000001", b'{"number": 2}', "history/broken/0000000001"),
        ("history/broken/0000000001", b"\xff\xfe", "history/broken/0000000001"),
    ],
)
async def test_whatever_makes_no_sense_is_named(world: ConsulWorld, key: str, value: bytes, named: str) -> None:
    async with world.open() as store:
        await store.put("broken", table("a"), "any")
        good = await store.put("good", table("b"), "any")
        await world.write(f"{world.prefix}/{key}", value)
        current = await store.current()
        assert isinstance(current["broken"], Unreadable)
        assert f"{world.prefix}/{named}" in str(current["broken"])
        assert current["good"] == good


async def test_keys_of_others_under_the_prefix_harm_nobody(world: ConsulWorld) -> None:
    async with world.open() as store:
        await world.write(f"{world.prefix}/heads/", b"")
        await world.write(f"{world.prefix}/history/default/", b"")
        await world.write(f"{world.prefix}/heads/a/b", b"{}")
        version = await store.put("default", table("a"), "any")
        current = await store.current()
        assert current.pop("default") == version
        assert [type(latest) for latest in current.values()] == [Unreadable]
        assert await store.history("default") == [version]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Agent]:
    with kept(agent(hcl=ACLS, token=ROOT)) as running:
        yield running


async def _token(running: Agent, rules: str) -> str:
    headers = {"X-Consul-Token": ROOT}
    name = uuid.uuid4().hex
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as session:
        await session.put(f"{running.url}/v1/acl/policy", json={"Name": name, "Rules": rules})
        async with session.put(f"{running.url}/v1/acl/token", json={"Policies": [{"Name": name}]}) as answer:
            return str((await answer.json())["SecretID"])


def _as(running: Agent, token: str | None, prefix: str = "tieline") -> AbstractAsyncContextManager[Store]:
    settings = {"kind": "consul", "address": running.url, "prefix": prefix, "token": token}
    return ConsulStoreConfig.model_validate(settings).open()


async def _all_refused(store: Store, *words: str) -> None:
    for asked in (
        store.current(),
        store.get("default"),
        store.version("default", 1),
        store.history("default"),
        store.put("default", table("x"), "any"),
    ):
        with pytest.raises(Refused) as raised:
            await asked
        assert all(word in str(raised.value) for word in words)
    async with watching(store) as watcher:
        error = await watcher.ends()
        assert isinstance(error, Refused)
        assert watcher.told == []


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(None, id="no token"),
        pytest.param('service_prefix "" { policy = "read" }', id="a token for something else"),
        pytest.param('key "tieline/heads/default" { policy = "write" }', id="a token for one head"),
    ],
)
async def test_who_may_not_read_is_refused_and_not_shown_an_empty_store(guarded: Agent, rules: str | None) -> None:
    async with _as(guarded, ROOT) as store:
        await store.put("default", table("a"), "any")
    async with _as(guarded, await _token(guarded, rules) if rules else None) as store:
        if rules is None or "service" in rules:
            await _all_refused(store, guarded.url, 'key_prefix "tieline/"')
        with pytest.raises(Refused, match="key_prefix"):
            await store.current()


async def test_an_unknown_token_is_refused_and_not_shown(guarded: Agent) -> None:
    async with _as(guarded, "n0nsense-s3cret") as store:
        await _all_refused(store, guarded.url)
        with pytest.raises(Refused) as raised:
            await store.current()
        assert "s3cret" not in str(raised.value)


async def test_who_may_only_read_is_refused_a_change(guarded: Agent) -> None:
    async with _as(guarded, ROOT, "read-only") as store:
        version = await store.put("default", table("a"), "any")
    reading = await _token(guarded, 'key_prefix "read-only/" { policy = "read" }')
    async with _as(guarded, reading, "read-only") as store:
        assert await store.get("default") == version
        for expected in ("any", 1):
            with pytest.raises(Refused, match="Permission denied"):
                await store.put("default", table("b"), expected)  # type: ignore[arg-type]
        assert await store.current() == {"default": version}


async def test_a_token_for_the_prefix_is_enough(guarded: Agent, tmp_path: File) -> None:
    token = tmp_path / "token"
    token.write_text(await _token(guarded, 'key_prefix "enough/" { policy = "write" }') + "\n")
    config = ConsulStoreConfig(address=guarded.url, prefix="enough", token_file=token)
    async with config.open() as store, watching(store) as watcher:
        await watcher.sees(await store.put("default", table("a"), "absent"))
        await watcher.sees(await store.put("default", GONE, 1))
        assert len(await store.history("default")) == 2


async def test_a_token_that_loses_its_right_ends_the_watch(guarded: Agent) -> None:
    token = await _token(guarded, 'key_prefix "losing/" { policy = "write" }')
    async with _as(guarded, token, "losing") as store, watching(store) as watcher:
        version = await store.put("default", table("a"), "any")
        await watcher.sees(version)
        async with aiohttp.ClientSession(headers={"X-Consul-Token": ROOT}, raise_for_status=True) as session:
            async with session.get(f"{guarded.url}/v1/acl/token/self", headers={"X-Consul-Token": token}) as answer:
                accessor = (await answer.json())["AccessorID"]
            await session.delete(f"{guarded.url}/v1/acl/token/{accessor}")
        async with _as(guarded, ROOT, "losing") as other:
            await other.put("default", table("b"), "any")
        assert isinstance(await watcher.ends(), Refused)
        assert watcher.latest == {"default": version}


async def test_tls_checks_both_sides(tmp_path: File) -> None:
    for words in (["ca", "create"], ["cert", "create", "-server"], ["cert", "create", "-client"]):
        made = await asyncio.create_subprocess_exec(
            str(find()), "tls", *words, cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL
        )
        assert await made.wait() == 0
    (port,) = free_ports(1)
    hcl = f"""
        ports {{ https = {port} }}
        ca_file = "{tmp_path}/consul-agent-ca.pem"
        cert_file = "{tmp_path}/dc1-server-consul-0.pem"
        key_file = "{tmp_path}/dc1-server-consul-0-key.pem"
        verify_incoming_https = true
    """
    good = Tls(
        ca_file=tmp_path / "consul-agent-ca.pem",
        cert_file=tmp_path / "dc1-client-consul-0.pem",
        key_file=tmp_path / "dc1-client-consul-0-key.pem",
        server_name="server.dc1.consul",
    )
    async with agent(hcl=hcl):
        address = f"https://127.0.0.1:{port}"
        async with ConsulStoreConfig(address=address, tls=good).open() as store, watching(store) as watcher:
            await watcher.sees(await store.put("default", table("a"), "any"))
        for bad in (good.model_copy(update={"server_name": "elsewhere"}), Tls(ca_file=good.ca_file)):
            async with ConsulStoreConfig(address=address, tls=bad).open() as store:
                with pytest.raises(Unavailable, match=address):
                    await store.get("default")


async def test_the_text_of_a_value_is_json_that_people_can_read(world: ConsulWorld) -> None:
    async with world.open() as store:
        await store.put("default", table("a"), "any")
    async with aiohttp.ClientSession() as session:
        url = f"{world.running.url}/v1/kv/{world.prefix}/history/default/0000000001"
        async with session.get(url) as answer:
            (pair,) = await answer.json()
    assert b'"dtab": "/svc => /#/files/a"' in base64.b64decode(pair["Value"])
