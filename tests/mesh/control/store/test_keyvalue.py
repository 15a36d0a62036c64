"""What a store of keys must bear beyond the contract: a transaction whose answer is lost on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest

from discovery.consul.config import ConsulConfig
from mesh.control.store.consul import ConsulKeys
from mesh.control.store.etcd import EtcdKeys
from mesh.control.store.etcd_api import EtcdApi
from mesh.control.store.keyvalue import Entry, KeyValue, KeyValueStore
from mesh.control.store.protocol import Conflict, Unavailable
from scripts import consul, etcd
from tests.mesh.control.store.contract import table

KINDS = [
    pytest.param("consul", marks=pytest.mark.skipif(consul.find() is None, reason="no consul: `make test` fetches it")),
    pytest.param("etcd", marks=pytest.mark.skipif(etcd.find() is None, reason="no etcd: `make test` fetches it")),
]


@asynccontextmanager
async def keys(kind: str) -> AsyncIterator[KeyValue]:
    if kind == "consul":
        async with consul.agent() as running, ConsulConfig(address=running.url).api() as api:
            yield ConsulKeys(api)
    else:
        async with etcd.cluster() as (member,), aiohttp.ClientSession() as session:
            yield EtcdKeys(EtcdApi(session, (member.url,)))


class Lossy:
    """A real store behind a bad line. `losing`: what becomes of the next transactions.

    "again": its answer is lost and it is sent again, as HTTP clients do; "answer": its answer is lost.
    """

    def __init__(self, real: KeyValue) -> None:
        self.real = real
        self.losing: list[str] = []

    async def read(self, keys: Sequence[str]) -> list[Entry | None]:
        return await self.real.read(keys)

    async def under(self, folder: str) -> list[Entry]:
        return await self.real.under(folder)

    async def newest(self, folder: str, limit: int, before: str) -> list[Entry]:
        return await self.real.newest(folder, limit, before)

    async def commit(self, changed: Entry, added: Entry) -> bool:
        made = await self.real.commit(changed, added)
        match self.losing.pop(0) if self.losing else "":
            case "again":
                return await self.real.commit(changed, added)
            case "answer":
                raise Unavailable("the line is bad")
            case _:
                return made

    def watch(self, folder: str) -> AsyncGenerator[list[Entry]]:
        return self.real.watch(folder)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_change_that_is_sent_twice_is_made_once(kind: str) -> None:
    async with keys(kind) as real:
        lossy = Lossy(real)
        store = KeyValueStore(lossy, "tieline")
        for number, expected in enumerate(("absent", 1, "any"), 1):
            lossy.losing = ["again"]
            version = await store.put("default", table("same"), expected)  # type: ignore[arg-type]
            assert version.number == number
            assert await store.get("default") == version
        assert len(await store.history("default")) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_a_change_whose_answer_is_lost_is_in_doubt_and_the_next_reading_tells(kind: str) -> None:
    async with keys(kind) as real:
        lossy = Lossy(real)
        store = KeyValueStore(lossy, "tieline")
        lossy.losing = ["answer"]
        with pytest.raises(Unavailable):
            await store.put("default", table("a"), "absent")
        with pytest.raises(Conflict) as raised:
            await store.put("default", table("a"), "absent")
        assert raised.value.current == await store.get("default")
        assert await store.version("default", 1) == raised.value.current
