"""Real stores for the tests: files and servers, each with a part of its own that is empty.

A server may be shared: it is started in a fixture of a module, though each test has a loop of its own.
"""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path as File
from typing import TypeVar

import aiohttp
from pydantic import TypeAdapter

from mesh.control.store.config import ConsulStoreConfig, EtcdStoreConfig, SqliteStoreConfig
from mesh.control.store.protocol import Store
from scripts.consul import Agent
from scripts.etcd import Member
from tests.mesh.control.store.contract import Server, World

T = TypeVar("T")


@contextmanager
def kept(opening: AbstractAsyncContextManager[T]) -> Iterator[T]:
    with asyncio.Runner() as runner:

        async def enter() -> T:
            return await opening.__aenter__()

        async def leave() -> None:
            await opening.__aexit__(None, None, None)

        opened = runner.run(enter())
        try:
            yield opened
        finally:
            runner.run(leave())


class FileWorld(World):
    def __init__(self, file: File) -> None:
        self.file = file

    def open(self) -> AbstractAsyncContextManager[Store]:
        return SqliteStoreConfig(file=self.file).open()

    async def garble(self, namespace: str) -> str:
        with closing(sqlite3.connect(self.file)) as database:
            last = "select max(number) from version where namespace = ?"
            (number,) = database.execute(last, (namespace,)).fetchone()
        self._insert(namespace, number + 1, "cast(x'fffe' as text)")
        return f"{self.file}, row"

    async def repair(self, namespace: str, number: int) -> None:
        """By hand: Tieline does not write after what it can't read."""
        self._insert(namespace, number, "''")

    def _insert(self, namespace: str, number: int, dtab: str) -> None:
        with closing(sqlite3.connect(self.file)) as database, database:
            row = f"insert into version values (null, ?, ?, 1.0, 'eve', '', {dtab}, '')"  # noqa: S608 - of this file
            database.execute(row, (namespace, number))


class ConsulWorld(Server):
    def __init__(self, running: Agent, timeout: float = 5.0) -> None:
        self.running = running
        self.address = running.url
        self.prefix = f"test/{uuid.uuid4().hex}"
        self.timeout = timeout

    def open(self) -> AbstractAsyncContextManager[Store]:
        return ConsulStoreConfig(address=self.running.url, prefix=self.prefix, timeout=self.timeout).open()

    async def garble(self, namespace: str) -> str:
        key = f"{self.prefix}/heads/{namespace}"
        await self.write(key, b"<html>busy</html>")
        return key

    async def write(self, key: str, value: bytes | None) -> None:
        """None: the key is removed."""
        async with aiohttp.ClientSession() as session:
            method = "DELETE" if value is None else "PUT"
            async with session.request(method, f"{self.running.url}/v1/kv/{key}", data=value) as answer:
                assert await answer.json() is True

    async def kill(self) -> None:
        await self.running.kill()

    async def restart(self) -> None:
        await self.running.restart()

    def freeze(self) -> None:
        self.running.stop()


async def etcd(member: Member, path: str, question: object, token: str = "") -> dict[str, object]:
    headers = {"Authorization": token} if token else None
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{member.url}/v3/{path}", json=question) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return TypeAdapter(dict[str, object]).validate_json(await answer.read())


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class EtcdWorld(Server):
    def __init__(self, member: Member, timeout: float = 5.0) -> None:
        self.member = member
        self.address = member.url
        self.prefix = f"test/{uuid.uuid4().hex}"
        self.timeout = timeout

    def open(self) -> AbstractAsyncContextManager[Store]:
        return EtcdStoreConfig(endpoints=(self.address,), prefix=self.prefix, timeout=self.timeout).open()

    async def garble(self, namespace: str) -> str:
        key = f"{self.prefix}/heads/{namespace}"
        await etcd(self.member, "kv/put", {"key": b64(key), "value": b64("<html>busy</html>")})
        return key

    async def kill(self) -> None:
        await self.member.kill()

    async def restart(self) -> None:
        await self.member.restart()

    def freeze(self) -> None:
        self.member.stop()
