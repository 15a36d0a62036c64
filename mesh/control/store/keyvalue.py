"""Versions in a store of keys with compare-and-set: Consul's and etcd's alike.

    <prefix>/heads/<namespace>                          {"number": 17}: the version in force
    <prefix>/history/<namespace>/<number, ten digits>   that version, whole, written once

A change writes both or neither. Heads are small, so that who watches them reads only those versions that are new to it.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mesh.control.store import record
from mesh.control.store.protocol import Expected, Latest, Unavailable, Unreadable
from mesh.control.store.record import MOST_NUMBER
from mesh.control.version import Change, Version


@dataclass(frozen=True, slots=True)
class Entry:
    """`revision`: the store's, of the last change to this key; 0 for a key that is not there."""

    key: str
    value: bytes
    revision: int


class KeyValue(Protocol):
    """All of it raises Unavailable and Refused. Reads see every change that was answered before they were asked."""

    async def read(self, keys: Sequence[str]) -> list[Entry | None]: ...

    async def under(self, folder: str) -> list[Entry]:
        """Every key that begins with `folder`. Refused where some of them might be hidden from us."""
        ...

    async def newest(self, folder: str, limit: int, before: str) -> list[Entry]:
        """The last `limit` keys under `folder` that sort before `before`; the last first."""
        ...

    async def commit(self, changed: Entry, added: Entry) -> bool:
        """Both or none: `changed` if it is at its revision still, `added` if there is none. False: one is not so.

        It may be asked for twice, where an answer was lost. Unavailable: it may have been made or not.
        """
        ...

    def watch(self, folder: str) -> AsyncGenerator[list[Entry]]:
        """What `under` says, and again at each change. Ends by raising."""
        ...


class _Head(TypedDict):
    number: int


_HEAD = TypeAdapter(_Head)


class KeyValueStore:
    def __init__(self, keys: KeyValue, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._heads = f"{prefix}/heads/"
        self._histories = f"{prefix}/history/"
        self._clock = clock
        # Who writes through us takes turns, so that races are only with others.
        self._turn = asyncio.Lock()

    async def current(self) -> dict[str, Latest]:
        return await self._latest(await self._keys.under(self._heads))

    async def get(self, namespace: str) -> Version | None:
        record.check(namespace)
        (head,) = await self._keys.read([self._heads + namespace])
        return await self._in_force(namespace, head)

    async def put(self, namespace: str, change: Change, expected: Expected) -> Version:
        record.check(namespace, change)
        async with self._turn:
            tried: list[Entry | None] = []
            while True:
                (head,) = await self._keys.read([self._heads + namespace])
                current = await self._in_force(namespace, head)
                # A head that was lost, or is older than its history, leads to a number that is taken.
                taken = await self._last(namespace) if head is None or head in tried else 0
                version = record.successor(namespace, current, change, expected, self._clock(), taken)
                if await self._commit(version, head):
                    return version
                if head in tried:
                    raise Unavailable(f"the store does not take version {version.number} of {namespace}: try again")
                tried = [head]  # most likely somebody was faster

    async def version(self, namespace: str, number: int) -> Version | None:
        record.check(namespace)
        if not 1 <= number <= MOST_NUMBER:
            return None
        (entry,) = await self._keys.read([self._key(namespace, number)])
        return record.decode(namespace, number, entry.key, entry.value) if entry else None

    async def history(self, namespace: str, limit: int = 50, before: int | None = None) -> list[Version]:
        record.check(namespace)
        before = MOST_NUMBER if before is None else min(before, MOST_NUMBER)
        if limit < 1 or before < 2:
            return []
        folder = f"{self._histories}{namespace}/"
        entries = await self._keys.newest(folder, limit, self._key(namespace, before))
        return [record.decode(namespace, self._number(entry), entry.key, entry.value) for entry in entries]

    async def watch(self) -> AsyncGenerator[dict[str, Latest]]:
        told: dict[str, Entry] | None = None
        async with aclosing(self._keys.watch(self._heads)) as listings:
            async for listing in listings:
                heads = {head.key: head for head in listing}
                known = told or {}
                news = await self._latest(head for head in listing if known.get(head.key) != head)
                news |= {self._named(key): _gone(key) for key in known.keys() - heads.keys()}
                first, told = told is None, heads
                if news or first:
                    yield news

    async def _commit(self, version: Version, head: Entry | None) -> bool:
        pointer = f'{{"number": {version.number}}}'.encode()
        changed = Entry(self._heads + version.namespace, pointer, head.revision if head else 0)
        key, written = self._key(version.namespace, version.number), record.encode(version, uuid.uuid4().hex)
        if await self._keys.commit(changed, Entry(key, written, 0)):
            return True
        # Asked twice because the first answer was lost, it is refused for having been made.
        (entry,) = await self._keys.read([key])
        return entry is not None and entry.value == written

    async def _in_force(self, namespace: str, head: Entry | None) -> Version | None:
        if head is None:
            return None
        latest = (await self._latest([head]))[namespace]
        if isinstance(latest, Unreadable):
            raise latest
        return latest

    async def _latest(self, heads: Iterable[Entry]) -> dict[str, Latest]:
        found: dict[str, Latest] = {}
        numbers: dict[str, int] = {}
        for head in heads:
            namespace = self._named(head.key)
            try:
                numbers[namespace] = _pointed_to(namespace, head)
            except Unreadable as error:
                found[namespace] = error
        entries = await self._keys.read([self._key(*each) for each in numbers.items()])
        for (namespace, number), entry in zip(numbers.items(), entries, strict=True):
            found[namespace] = self._decoded(namespace, number, entry)
        return found

    def _decoded(self, namespace: str, number: int, entry: Entry | None) -> Latest:
        if entry is None:
            return record.unreadable(self._key(namespace, number), "it is not there")
        try:
            return record.decode(namespace, number, entry.key, entry.value)
        except Unreadable as error:
            return error

    async def _last(self, namespace: str) -> int:
        """The highest number that was ever used. 0: none."""
        folder = f"{self._histories}{namespace}/"
        entries = await self._keys.newest(folder, 1, self._key(namespace, MOST_NUMBER))
        return self._number(entries[0]) if entries else 0

    def _key(self, namespace: str, number: int) -> str:
        return f"{self._histories}{namespace}/{number:010}"

    def _named(self, key: str) -> str:
        return key.removeprefix(self._heads)

    @staticmethod
    def _number(entry: Entry) -> int:
        found = re.fullmatch(r"\d{10}", entry.key.rpartition("/")[2], re.ASCII)
        if found is None:
            raise record.unreadable(entry.key, "its name is no number")
        return int(found[0])


def _pointed_to(namespace: str, head: Entry) -> int:
    if record.is_name(namespace):
        try:
            number = _HEAD.validate_json(head.value, strict=True)["number"]
        except ValidationError:
            raise record.unreadable(head.key, '{"number": …} expected') from None
        if 1 <= number <= MOST_NUMBER:
            return number
    raise record.unreadable(head.key, "no name of a namespace, or no number")


def _gone(key: str) -> Unreadable:
    return Unreadable(f"{key} was there and is gone: restore it from a backup of the store")
