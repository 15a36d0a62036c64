"""Versions in etcd v3. A change is one transaction; who watches has one stream over all heads.

A stream in silence tells nothing: its connection may be dead, its member stopped or deaf. So after a silence as long
as an answer may take, the same member is asked for the newest revision of the heads, and must know of none that the
stream has not brought. (etcd's own progress notifications come every ten minutes, and can't be asked for here.)
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import NotRequired

import aiohttp
from pydantic import Base64Bytes, TypeAdapter
from typing_extensions import TypedDict

from mesh.control.store.etcd_api import EtcdApi, parsed, refusal
from mesh.control.store.keyvalue import Entry
from mesh.control.store.protocol import Refused, Unavailable

_RANGE, _TXN, _WATCH = "/v3/kv/range", "/v3/kv/txn", "/v3/watch"
# etcd takes 128 operations in a transaction unless told otherwise.
_MOST_OPERATIONS = 100


class _Header(TypedDict):
    revision: int


class _Pair(TypedDict):
    """What is 0 or empty is left out; 64-bit numbers are strings."""

    key: Base64Bytes
    value: NotRequired[Base64Bytes]
    mod_revision: NotRequired[int]


class _Range(TypedDict):
    header: _Header
    kvs: NotRequired[list[_Pair]]


class _Response(TypedDict):
    response_range: NotRequired[_Range]


class _Txn(TypedDict):
    succeeded: NotRequired[bool]
    responses: NotRequired[list[_Response]]


class _Event(TypedDict):
    type: NotRequired[str]
    kv: _Pair


class _Watch(TypedDict):
    canceled: NotRequired[bool]
    cancel_reason: NotRequired[str]
    compact_revision: NotRequired[int]
    events: NotRequired[list[_Event]]


class _Line(TypedDict):
    result: NotRequired[_Watch]
    error: NotRequired[dict[str, object]]


_RANGES, _TXNS, _LINES = TypeAdapter(_Range), TypeAdapter(_Txn), TypeAdapter(_Line)


class EtcdKeys:
    def __init__(self, api: EtcdApi) -> None:
        self._api = api

    async def read(self, keys: Sequence[str]) -> list[Entry | None]:
        found: dict[str, Entry] = {}
        for start in range(0, len(keys), _MOST_OPERATIONS):
            asked = [{"request_range": {"key": _b64(key)}} for key in keys[start : start + _MOST_OPERATIONS]]
            answer = await self._api.ask(_TXN, {"success": asked}, _TXNS)
            ranges = [each["response_range"] for each in answer.get("responses", []) if "response_range" in each]
            found |= {entry.key: entry for each in ranges for entry in _entries(each)}
        return [found.get(key) for key in keys]

    async def under(self, folder: str) -> list[Entry]:
        return _entries(await self._api.ask(_RANGE, _all(folder), _RANGES))

    async def newest(self, folder: str, limit: int, before: str) -> list[Entry]:
        wanted = {"key": _b64(folder), "range_end": _b64(before), "limit": limit}
        ordered = {**wanted, "sort_order": "DESCEND", "sort_target": "KEY"}
        return _entries(await self._api.ask(_RANGE, ordered, _RANGES))

    async def commit(self, changed: Entry, added: Entry) -> bool:
        question = {
            "compare": [_unchanged(changed), _unchanged(added)],
            "success": [_put(changed), _put(added)],
        }
        return (await self._api.ask(_TXN, question, _TXNS)).get("succeeded", False)

    async def watch(self, folder: str) -> AsyncGenerator[list[Entry]]:
        while True:
            endpoint = self._api.first
            answer = await self._at(endpoint, _all(folder))
            known = {entry.key: entry for entry in _entries(answer)}
            yield list(known.values())
            async with aclosing(self._follow(endpoint, folder, answer["header"]["revision"])) as changes:
                async for events in changes:
                    known = _after(known, events)
                    yield list(known.values())
            # What would come next was compacted away: only a new reading tells.

    async def _follow(self, endpoint: str, folder: str, revision: int) -> AsyncGenerator[list[_Event]]:
        """What has changed after `revision`. Returns where that is not known any more."""
        question = {"create_request": {**_all(folder), "start_revision": revision + 1}}
        try:
            async with await self._api.stream(endpoint, _WATCH, question) as response:
                lines = _Lines(endpoint, response)
                while True:
                    heard = await self._heard(lines, folder, revision)
                    if any(each.get("compact_revision") for each in heard):
                        return
                    events = [event for each in heard for event in each.get("events", [])]
                    if events:
                        revision = max(event["kv"].get("mod_revision", 0) for event in events)
                        yield events
        except Unavailable:
            self._api.avoid(endpoint)
            raise

    async def _heard(self, lines: _Lines, folder: str, revision: int) -> list[_Watch]:
        heard = await lines.next(self._api.timeout)
        behind = False
        while heard is None:
            newest = {**_all(folder), "sort_order": "DESCEND", "sort_target": "MOD", "limit": 1, "keys_only": True}
            newer = any(entry.revision > revision for entry in _entries(await self._at(lines.endpoint, newest)))
            if newer and behind:
                raise Unavailable(f"the watch of etcd at {lines.endpoint} is deaf: it has missed a change")
            behind = newer
            heard = await lines.next(self._api.timeout)
        return heard

    async def _at(self, endpoint: str, question: object) -> _Range:
        try:
            return await self._api.ask_at(endpoint, _RANGE, question, _RANGES)
        except Unavailable:
            self._api.avoid(endpoint)
            raise


class _Lines:
    """What a stream brings."""

    def __init__(self, endpoint: str, response: aiohttp.ClientResponse) -> None:
        self.endpoint = endpoint
        self._response = response
        self._rest = b""

    async def next(self, seconds: float) -> list[_Watch] | None:
        """All that has come. None: nothing in that time. Raises Unavailable when the stream ends, Refused."""
        try:
            async with asyncio.timeout(seconds):
                read = await self._response.content.readany()
        except TimeoutError:
            return None
        except aiohttp.ClientError as error:
            raise Unavailable(f"etcd at {self.endpoint} has broken off the watch: {error}") from error
        if not read:
            if self._rest:  # an error is the last line, and has no end
                self._result(self._rest)
            raise Unavailable(f"etcd at {self.endpoint} has ended the watch")
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [self._result(line) for line in lines if line.strip()]

    def _result(self, line: bytes) -> _Watch:
        said = parsed(_LINES, line, self.endpoint, _WATCH)
        if "result" not in said:
            raise refusal(self.endpoint, _WATCH, 200, json.dumps(said.get("error")).encode())
        result = said["result"]
        if result.get("canceled") and not result.get("compact_revision"):
            text = f"etcd at {self.endpoint} has cancelled the watch: {result.get('cancel_reason', 'no reason given')}"
            raise Refused(text) if "permission denied" in text else Unavailable(text)
        return result


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _all(folder: str) -> dict[str, object]:
    """Every key that begins with `folder`, which ends in `/`."""
    return {"key": _b64(folder), "range_end": _b64(folder[:-1] + chr(ord("/") + 1))}


def _unchanged(entry: Entry) -> dict[str, object]:
    """Revision 0: there is no such key."""
    return {"key": _b64(entry.key), "target": "MOD", "result": "EQUAL", "mod_revision": entry.revision}


def _put(entry: Entry) -> dict[str, object]:
    return {"request_put": {"key": _b64(entry.key), "value": base64.b64encode(entry.value).decode()}}


def _entries(answer: _Range) -> list[Entry]:
    return [_entry(pair) for pair in answer.get("kvs", [])]


def _entry(pair: _Pair) -> Entry:
    return Entry(pair["key"].decode(errors="replace"), pair.get("value", b""), pair.get("mod_revision", 0))


def _after(known: dict[str, Entry], events: Iterable[_Event]) -> dict[str, Entry]:
    found = dict(known)
    for event in events:
        entry = _entry(event["kv"])
        if event.get("type") == "DELETE":
            found.pop(entry.key, None)
        else:
            found[entry.key] = entry
    return found
