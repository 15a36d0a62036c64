"""The contract with a real etcd, clusters that lose members, logins and compaction. Skipped where there is none."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path as File

import aiohttp
import pytest
from pydantic import TypeAdapter

from discovery.tls import Tls
from mesh.control.store.config import EtcdStoreConfig
from mesh.control.store.etcd import EtcdKeys
from mesh.control.store.etcd_api import EtcdApi
from mesh.control.store.keyvalue import Entry
from mesh.control.store.protocol import Conflict, Refused, Store, Unavailable, Unreadable
from mesh.control.version import Version
from scripts.etcd import Member, cluster, find
from tests.certificates import Authority
from tests.mesh.control.store.contract import (
    GONE,
    PATIENCE_SECONDS,
    Server,
    ServerContract,
    World,
    made,
    table,
    watching,
)
from tests.mesh.control.store.worlds import EtcdWorld, b64, etcd, kept

pytestmark = pytest.mark.skipif(find() is None, reason="no etcd here: `python -m scripts.etcd --fetch` says why")


@pytest.fixture(scope="module")
def shared() -> Iterator[Member]:
    with kept(cluster()) as members:
        yield members[0]


class TestEtcdContract(ServerContract):
    @pytest.fixture(autouse=True)
    def _shared(self, shared: Member) -> None:
        self.shared = shared

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        yield EtcdWorld(self.shared)

    @asynccontextmanager
    async def server(self) -> AsyncIterator[Server]:
        async with cluster() as members:
            yield EtcdWorld(members[0], timeout=1.0)


@pytest.fixture
async def world(shared: Member) -> EtcdWorld:
    return EtcdWorld(shared)


async def test_a_head_that_was_removed_is_told_and_its_numbers_are_not_used_again(world: EtcdWorld) -> None:
    async with world.open() as store:
        await store.put("default", table("a"), "any")
        second = await store.put("default", table("b"), "any")
        async with watching(store) as watcher:
            await etcd(world.member, "kv/deleterange", {"key": b64(f"{world.prefix}/heads/default")})
            await watcher.until(lambda self: isinstance(self.latest["default"], Unreadable), "an error")
            assert "is gone" in str(watcher.latest["default"])
            third = await store.put("default", table("c"), "absent")
            assert third.number == 3
            await watcher.sees(third)
        assert (await store.history("default"))[1] == second


async def test_many_namespaces_are_read_at_once(world: EtcdWorld) -> None:
    """More than etcd takes in one transaction."""
    async with world.open() as store:
        for number in range(130):
            await store.put(f"ns-{number}", table(str(number)), "any")
        assert len(await store.current()) == 130


@asynccontextmanager
async def keys_of(world: EtcdWorld) -> AsyncIterator[EtcdKeys]:
    async with aiohttp.ClientSession() as session:
        yield EtcdKeys(EtcdApi(session, (world.address,)))


async def test_a_change_whose_answer_was_lost_is_not_made_twice(world: EtcdWorld) -> None:
    """The same transaction again is refused for having been made."""
    head = Entry(f"{world.prefix}/heads/default", b'{"number": 1}', 0)
    first = Entry(f"{world.prefix}/history/default/0000000001", b"{}", 0)
    async with keys_of(world) as keys:
        assert await keys.commit(head, first)
        assert not await keys.commit(head, first)
        assert [entry and entry.value for entry in await keys.read([head.key, first.key, "nothing"])] == [
            head.value,
            first.value,
            None,
        ]


async def test_what_was_compacted_away_is_read_again(world: EtcdWorld) -> None:
    folder = f"{world.prefix}/heads/"
    async with keys_of(world) as keys, world.open() as store, aclosing(keys.watch(folder)) as listings:
        assert await anext(listings) == []
        # The watch asks for what comes after its reading only now, when that is no more to be had.
        for number in range(3):
            last = await store.put("default", table(str(number)), "any")
        header = (await etcd(world.member, "kv/range", {"key": b64("x")}))["header"]
        await etcd(
            world.member, "kv/compaction", {"revision": TypeAdapter(dict[str, int]).validate_python(header)["revision"]}
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            (head,) = await anext(listings)
            assert head.value == f'{{"number": {last.number}}}'.encode()
            await store.put("default", table("after"), "any")
            (head,) = await anext(listings)
            assert head.value == b'{"number": 4}'


@asynccontextmanager
async def three(timeout: float = 2.0) -> AsyncIterator[tuple[list[Member], Store]]:
    async with cluster(3) as members:
        endpoints = tuple(member.url for member in members)
        async with EtcdStoreConfig(endpoints=endpoints, timeout=timeout).open() as store:
            yield members, store


async def test_a_cluster_of_three_writes_with_one_killed_and_refuses_with_two() -> None:
    async with three() as (members, store):
        first = await store.put("default", table("a"), "absent")
        async with watching(store) as watcher:
            await members[0].kill()
            assert members[0].url in str(await watcher.ends())
        # The others elect a leader meanwhile, if it was the one.
        second = await eventually_made(store, first.number)
        assert second.number == 2
        async with watching(store) as watcher:
            assert await watcher.begins() == {"default": second}
            await members[1].kill()
            assert isinstance(await watcher.ends(), Unavailable)
        with pytest.raises(Unavailable) as raised:
            await store.put("default", table("c"), 2)
        assert all(member.url in str(raised.value) for member in members)
        with pytest.raises(Unavailable):
            await store.get("default")
        await members[0].restart()
        found = await eventually_made(store, 2)
        assert [version.number for version in await store.history("default")] == [3, 2, 1]
        assert await store.get("default") == found


async def eventually_made(store: Store, expected: int) -> Version:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(Unavailable):
                found = await made(store.put("default", table("b"), expected))
                # One that was thought to be lost with the leader may have been made.
                version = found.current if isinstance(found, Conflict) else found
                assert version is not None
                assert (version.number, version.content) == (expected + 1, table("b").content)
                return version
            await asyncio.sleep(0.05)


async def test_a_member_that_has_lost_the_others_ends_its_watch() -> None:
    async with (
        cluster(3) as members,
        EtcdStoreConfig(endpoints=(members[0].url,), timeout=30).open() as store,
        watching(store) as watcher,
    ):
        await watcher.begins()
        await members[1].kill()
        await members[2].kill()
        error = await watcher.ends()
        assert isinstance(error, Unavailable)
        assert "no leader" in str(error)
        assert members[0].url in str(error)


@asynccontextmanager
async def guarded() -> AsyncIterator[Member]:
    """`root`, `ann` who may write under tieline/, `bob` who may read there; each one's password is the name and 1."""
    async with cluster() as members:
        member = members[0]
        for role, kind in (("writing", "READWRITE"), ("reading", "READ")):
            await etcd(member, "auth/role/add", {"name": role})
            permission = {"permType": kind, "key": b64("tieline/"), "range_end": b64("tieline0")}
            await etcd(member, "auth/role/grant", {"name": role, "perm": permission})
        for user, role in (("root", "root"), ("ann", "writing"), ("bob", "reading")):
            await etcd(member, "auth/user/add", {"name": user, "password": f"{user}1"})
            await etcd(member, "auth/user/grant", {"user": user, "role": role})
        await etcd(member, "auth/enable", {})
        yield member


def _as(member: Member, folder: File, user: str | None, password: str = "", prefix: str = "tieline") -> EtcdStoreConfig:
    file = folder / "password"
    file.write_text(f"{password}\n")
    return EtcdStoreConfig(
        endpoints=(member.url,), user=user, password_file=file if user else None, prefix=prefix, timeout=1.0
    )


async def test_who_is_not_let_in_is_refused_and_who_is_stays_so(tmp_path: File) -> None:
    async with guarded() as member:
        async with _as(member, tmp_path, "ann", "ann1").open() as store:
            version = await store.put("default", table("a"), "any")
            async with watching(store) as watcher:
                assert await watcher.begins() == {"default": version}
                await watcher.sees(await store.put("default", table("b"), 1))
            await member.restart()  # it has forgotten the token
            second = await store.get("default")
        async with _as(member, tmp_path, "bob", "bob1").open() as store:
            assert await store.current() == {"default": second}
            with pytest.raises(Refused, match="permission denied"):
                await store.put("default", table("c"), "any")
        for user, password, prefix in (
            (None, "", "tieline"),
            ("ann", "wrong-s3cret", "tieline"),
            ("ann", "ann1", "no"),
        ):
            async with _as(member, tmp_path, user, password, prefix).open() as store:
                for asked in (store.current(), store.get("default"), store.put("default", table("d"), "any")):
                    with pytest.raises(Refused, match=member.url) as raised:
                        await asked
                    assert "s3cret" not in str(raised.value)
                async with watching(store) as watcher:
                    assert isinstance(await watcher.ends(), Refused)
                    assert watcher.told == []


async def test_a_token_that_is_out_of_date_is_replaced(tmp_path: File) -> None:
    async with guarded() as member, _as(member, tmp_path, "ann", "ann1").open() as store:
        await store.put("default", table("a"), "any")
        token = await _log_in(member, "root", "root1")
        # When what users may do has changed, every token of before is out of date.
        await etcd(member, "auth/user/add", {"name": "eve", "password": "eve1"}, token)
        assert (await store.put("default", table("b"), 1)).number == 2


async def _log_in(member: Member, name: str, password: str) -> str:
    return str((await etcd(member, "auth/authenticate", {"name": name, "password": password}))["token"])


async def test_a_password_file_that_is_not_there_is_told(tmp_path: File, shared: Member) -> None:
    config = EtcdStoreConfig(endpoints=(shared.url,), user="ann", password_file=tmp_path / "none")
    async with config.open() as store:
        with pytest.raises(Refused, match=r"password_file .*none cannot be read"):
            await store.get("default")


async def test_a_user_where_there_is_no_authentication_is_told(tmp_path: File, shared: Member) -> None:
    async with _as(shared, tmp_path, "ann", "ann1").open() as store:
        with pytest.raises(Refused, match="authentication is not enabled"):
            await store.get("default")


async def test_tls_checks_both_sides(tmp_path: File) -> None:
    authority = Authority()
    ca = authority.write(tmp_path)
    cert, key = authority.server("127.0.0.1").write(tmp_path, "server")
    options = ("--cert-file", str(cert), "--key-file", str(key), "--trusted-ca-file", str(ca), "--client-cert-auth")
    client_cert, client_key = authority.server("client").write(tmp_path, "client")
    good = Tls(ca_file=ca, cert_file=client_cert, key_file=client_key)
    async with cluster(1, *options, tls=True) as (member,):
        assert member.url.startswith("https:")
        async with EtcdStoreConfig(endpoints=(member.url,), tls=good).open() as store, watching(store) as watcher:
            await watcher.sees(await store.put("default", table("a"), "any"))
            await watcher.sees(await store.put("default", GONE, 1))
        for bad in (Tls(ca_file=ca), Tls(cert_file=client_cert, key_file=client_key)):
            async with EtcdStoreConfig(endpoints=(member.url,), tls=bad).open() as store:
                with pytest.raises(Unavailable, match=member.url):
                    await store.get("default")


async def test_an_etcd_without_its_gateway_is_told() -> None:
    async with (
        cluster(1, "--enable-grpc-gateway=false") as (member,),
        EtcdStoreConfig(endpoints=(member.url,)).open() as store,
    ):
        with pytest.raises(Refused, match="--enable-grpc-gateway"):
            await store.get("default")


async def test_an_etcd_without_room_takes_no_change_and_is_read_from() -> None:
    async with (
        cluster(1, "--quota-backend-bytes", "1000000") as (member,),
        EtcdStoreConfig(endpoints=(member.url,)).open() as store,
    ):

        async def fill() -> None:
            for _ in range(10):
                await store.put("default", table("x" * 300_000), "any")

        with pytest.raises(Unavailable, match="database space exceeded"):
            await fill()
        assert await store.get("default") == (await store.history("default"))[0]
