"""The objects, their past and who watches them. One counter for all resources; no network.

An object is kept as the JSON it is sent as, so that a list of 100,000 endpoints is a join.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.kubernetes_selection import Selection


@dataclass(frozen=True, slots=True)
class Kind:
    plural: str
    kind: str
    api_version: str
    namespaced: bool
    short: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


SERVICES = Kind("services", "Service", "v1", True, ("svc",))
SLICES = Kind("endpointslices", "EndpointSlice", "discovery.k8s.io/v1", True)
NAMESPACES = Kind("namespaces", "Namespace", "v1", False, ("ns",))
KINDS = {kind.plural: kind for kind in (SERVICES, SLICES, NAMESPACES)}


class Expired(Exception):
    """The past that was asked for is forgotten."""


class Missing(Exception):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Record:
    namespace: str
    name: str
    version: int
    labels: Mapping[str, str]
    json: bytes

    @property
    def place(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.json)
        return body

    def at(self, version: int) -> Record:
        """The same content with a later resourceVersion: what DELETED carries."""
        body = self.body
        body["metadata"]["resourceVersion"] = str(version)
        return Record(self.namespace, self.name, version, self.labels, dumped(body))


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    before: Record | None
    after: Record | None

    def seen_by(self, selection: Selection) -> tuple[str, Record] | None:
        """What it is to a watch: an object that leaves the selection is DELETED, with what it was."""
        was = self.before if self.before is not None and has(selection, self.before) else None
        now = self.after if self.after is not None and has(selection, self.after) else None
        if now is not None:
            return ("ADDED" if was is None else "MODIFIED"), now
        return None if was is None else ("DELETED", was.at(self.version))


def dumped(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def has(selection: Selection, record: Record) -> bool:
    return selection.has(record.namespace, record.name, record.labels)


def line(verb: str, shown: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (verb.encode(), shown)


@dataclass(slots=True, eq=False)
class Watch:
    kind: Kind
    selection: Selection
    after: int
    bookmarks: bool = False
    pending: list[bytes] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    breaks: bool = False
    """The connection is closed in the middle, not the answer at its end."""

    def tell(self, change: Change) -> None:
        seen = None if change.version <= self.after else change.seen_by(self.selection)
        if seen is not None:
            self.say(line(seen[0], seen[1].json))

    def bookmark(self, version: int) -> None:
        if self.bookmarks:
            body = {"kind": self.kind.kind, "apiVersion": self.kind.api_version}
            self.say(line("BOOKMARK", dumped(body | {"metadata": {"resourceVersion": str(version)}})))

    def say(self, text: bytes) -> None:
        self.pending.append(text)
        self.told.clear()
        self.wake.set()

    def end(self) -> None:
        self.ended = True
        self.wake.set()

    def take(self) -> bytes:
        taken = b"".join(self.pending)
        self.pending.clear()
        self.wake.clear()
        return taken


@dataclass(slots=True)
class Shelf:
    """All objects of one resource."""

    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    changes: deque[Change] = field(default_factory=deque)
    forgotten: int = 0
    """The resourceVersion of the latest change that is no longer in `changes`."""
    watches: set[Watch] = field(default_factory=set)
    snapshots: dict[int, Sequence[Record]] = field(default_factory=dict)
    _ordered: Sequence[Record] | None = None

    def ordered(self) -> Sequence[Record]:
        """As etcd has them, and as pages are continued: by `place`, in which a-b comes before a."""
        if self._ordered is None:
            self._ordered = sorted(self.records.values(), key=lambda record: record.place)
        return self._ordered

    def replace(self, key: tuple[str, str], record: Record | None) -> Record | None:
        self._ordered = None
        before = self.records.pop(key, None) if record is None else self.records.get(key)
        if record is not None:
            self.records[key] = record
        return before

    def trim(self, history: int) -> None:
        while len(self.changes) > history:
            self.forgotten = self.changes.popleft().version
        for version in [version for version in self.snapshots if version < self.forgotten]:
            del self.snapshots[version]


@dataclass(slots=True)
class Store:
    version: int = 1
    history: int = 10_000
    silent: bool = False
    shelves: dict[str, Shelf] = field(default_factory=lambda: {plural: Shelf() for plural in KINDS})

    def get(self, kind: Kind, namespace: str, name: str) -> Record:
        try:
            return self.shelves[kind.plural].records[namespace, name]
        except KeyError:
            raise Missing(name) from None

    def put(self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any]) -> Record:
        if kind.namespaced and ("", namespace) not in self.shelves["namespaces"].records:
            self.put(NAMESPACES, "", namespace, {"status": {"phase": "Active"}})
        before = self.shelves[kind.plural].records.get((namespace, name))
        self.version += 1
        metadata = _metadata(body.get("metadata") or {}, namespace, name, self.version, before)
        content = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        content |= {key: value for key, value in body.items() if key not in content}
        record = Record(namespace, name, self.version, metadata.get("labels") or {}, dumped(content))
        self._change(kind, (namespace, name), record)
        return record

    def delete(self, kind: Kind, namespace: str, name: str) -> Record:
        record = self.get(kind, namespace, name)
        if kind is NAMESPACES:
            for inner in (SERVICES, SLICES):
                for key in [key for key in self.shelves[inner.plural].records if key[0] == name]:
                    self.delete(inner, *key)
        self.version += 1
        self._change(kind, (namespace, name), None)
        return record

    def _change(self, kind: Kind, key: tuple[str, str], after: Record | None) -> None:
        shelf = self.shelves[kind.plural]
        change = Change(self.version, shelf.replace(key, after), after)
        if self.silent:
            return
        shelf.changes.append(change)
        shelf.trim(self.history)
        for watch in shelf.watches:
            watch.tell(change)

    def watch(self, watch: Watch, *, replay: bool) -> None:
        """Begins it: with all there is, or with what changed after `watch.after`."""
        shelf = self.shelves[watch.kind.plural]
        shelf.trim(self.history)
        if replay:
            watch.after = self.version
            for record in shelf.ordered():
                if has(watch.selection, record):
                    watch.say(line("ADDED", record.json))
        elif watch.after < shelf.forgotten:
            raise Expired(f"too old resource version: {watch.after} ({shelf.forgotten})")
        else:
            for change in shelf.changes:
                watch.tell(change)
        shelf.watches.add(watch)

    def leave(self, watch: Watch) -> None:
        self.shelves[watch.kind.plural].watches.discard(watch)

    @property
    def watches(self) -> list[Watch]:
        return [watch for shelf in self.shelves.values() for watch in shelf.watches]

    def expire(self) -> None:
        """Whatever was listed or watched before is too old from now on."""
        self.version += 1
        for shelf in self.shelves.values():
            shelf.changes.clear()
            shelf.snapshots.clear()
            shelf.forgotten = self.version

    def keep(self, kind: Kind, version: int) -> None:
        """All objects as they are now can be asked for again."""
        shelf = self.shelves[kind.plural]
        shelf.snapshots.setdefault(version, shelf.ordered())

    def snapshot(self, kind: Kind, version: int) -> Sequence[Record]:
        """All objects as they were; only versions that were listed before are known."""
        shelf = self.shelves[kind.plural]
        shelf.trim(self.history)
        if version == self.version:
            return shelf.snapshots.setdefault(version, shelf.ordered())
        try:
            return shelf.snapshots[version]
        except KeyError:
            raise Expired(f"The resourceVersion {version} is too old") from None


def _metadata(
    given: Mapping[str, Any], namespace: str, name: str, version: int, before: Record | None
) -> dict[str, Any]:
    if before is None:
        basics = {"uid": str(uuid.uuid4()), "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    else:
        kept = before.body["metadata"]
        basics = {key: kept[key] for key in ("uid", "creationTimestamp")}
    place = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {**given, **place, **basics, "resourceVersion": str(version)}
