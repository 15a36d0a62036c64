"""Versions in Consul's KV store.

A change is one transaction (`/v1/txn`) of two `cas`; who watches has one blocking query on all heads. Reads are
`consistent`. The token needs `key_prefix "<prefix>/" { policy = "write" }`.

What ACLs hide (tried on 1.8): where they deny by default, a list of keys that may not be read is 404, as if there were
none, and a transaction that may not be made is 409, as if it had lost a race; its text tells. A read of one single key
that may not be read is 403, though, whether it exists or not. So each list is followed by a read of the folder's own
key, which a rule for the prefix allows and none does not: who is refused that could be shown an empty store.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import NotRequired, TypeVar

from pydantic import Base64Bytes, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from discovery import source
from discovery.consul.api import Api, Reply
from discovery.consul.pace import NEWS, NO_NEWS, Pace
from discovery.dns.together import together
from mesh.control.store.keyvalue import Entry
from mesh.control.store.protocol import Refused, Unavailable

T = TypeVar("T")

_CONSISTENT = {"consistent": ""}
_NONE = frozenset({404})
_UNDONE = frozenset({409})


class _Pair(TypedDict):
    Key: str
    Value: Base64Bytes | None
    ModifyIndex: int


class _Error(TypedDict):
    What: str


class _Undone(TypedDict):
    Errors: NotRequired[list[_Error] | None]


_PAIRS = TypeAdapter(list[_Pair])
_KEYS = TypeAdapter(list[str])
_UNDONE_BODY = TypeAdapter(_Undone)


class ConsulKeys:
    """A Consul that has stopped is found out by its watch after three times the time-out of an answer."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._wait = 2 * api.timeout

    async def read(self, keys: Sequence[str]) -> list[Entry | None]:
        with _told():
            return await together(self._read(key) for key in keys)

    async def under(self, folder: str) -> list[Entry]:
        with _told():
            return _entries(await self._list(folder), folder)

    async def newest(self, folder: str, limit: int, before: str) -> list[Entry]:
        with _told():
            reply = await self._api.read(f"/v1/kv/{folder}", {"keys": "", **_CONSISTENT}, _NONE)
            await self._must_see(folder)
        names = sorted((key for key in _parsed(_KEYS, reply, folder) if key < before), reverse=True)
        entries = await self.read([name for name in names if not name.endswith("/")][:limit])
        return [entry for entry in entries if entry is not None]

    async def commit(self, changed: Entry, added: Entry) -> bool:
        body = json.dumps([_cas(changed), _cas(added)]).encode()
        with _told():
            reply = await self._api.write("/v1/txn", body, _UNDONE)
        if reply.status == 200:
            return True
        said = "; ".join(error["What"] for error in _parsed(_UNDONE_BODY, reply, "/v1/txn").get("Errors") or ())
        if "index is stale" in said:
            return False
        raise Refused(f"Consul at {self._api.shown} does not write {changed.key}: {said} (it needs {self._api.needs})")

    async def watch(self, folder: str) -> AsyncGenerator[list[Entry]]:
        loop = asyncio.get_running_loop()
        pace = Pace(at=loop.time())
        with _told():
            reply = await self._list(folder)
        entries = _entries(reply, folder)
        yield entries
        while True:
            with _told():
                reply = await self._news(folder, reply.index)
            known, entries = entries, _entries(reply, folder)
            if entries != known:
                yield entries
            await asyncio.sleep(pace.pause(NO_NEWS if entries == known else NEWS, loop.time()))

    async def _news(self, folder: str, index: int) -> Reply:
        """The list when it is beyond `index`; an index that went backwards is not believed."""
        if index > 0:
            reply = await self._api.watch(f"/v1/kv/{folder}", {"recurse": ""}, index, self._wait, _NONE)
            if reply.index == index:
                return reply
            if reply.index > index and reply.status == 200 and not reply.filtered:
                await self._must_see(folder)
                return reply
        return await self._list(folder)

    async def _list(self, folder: str) -> Reply:
        reply = await self._api.read(f"/v1/kv/{folder}", {"recurse": "", **_CONSISTENT}, _NONE)
        if reply.filtered:
            raise source.Misconfigured(
                f"Consul at {self._api.shown} hides a part of {folder} from this token: it needs {self._api.needs}"
            )
        await self._must_see(folder)
        return reply

    async def _must_see(self, folder: str) -> None:
        await self._api.read(f"/v1/kv/{folder}", _CONSISTENT, _NONE)

    async def _read(self, key: str) -> Entry | None:
        reply = await self._api.read(f"/v1/kv/{key}", _CONSISTENT, _NONE)
        found = _entries(reply, key)
        return found[0] if found else None


def _cas(entry: Entry) -> dict[str, object]:
    """Index 0: only if there is no such key."""
    value = base64.b64encode(entry.value).decode()
    return {"KV": {"Verb": "cas", "Key": entry.key, "Value": value, "Index": entry.revision}}


def _entries(reply: Reply, path: str) -> list[Entry]:
    """Without the empty keys ending in `/` that Consul's own pages make for folders."""
    if reply.status == 404:
        return []
    pairs = _parsed(_PAIRS, reply, path)
    return [
        Entry(pair["Key"], pair["Value"] or b"", pair["ModifyIndex"]) for pair in pairs if not pair["Key"].endswith("/")
    ]


def _parsed(adapter: TypeAdapter[T], reply: Reply, path: str) -> T:
    try:
        return adapter.validate_json(b"[]" if reply.status == 404 else reply.body)
    except ValidationError as error:
        raise Unavailable(f"Consul's answer to {path} makes no sense: {error.errors()[0]['msg']}") from None


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except source.Unavailable as error:
        raise Unavailable(str(error)) from error
    except source.Misconfigured as error:
        raise Refused(str(error)) from error
