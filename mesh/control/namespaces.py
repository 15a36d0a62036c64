"""What agents are told of tables: each the one of its namespace, made into a frame once for all who are there.

What we don't know takes no table away: neither a store that has not answered, nor one that can't be believed, nor one
that has lost a namespace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from discovery.remote import frames
from discovery.remote.frames import Hello, Table
from mesh.control.version import Version

logger = logging.getLogger("tieline.hub")

Told = Callable[[], None]


class Tables(Protocol):
    """What is in force, by namespace; `mesh.control.tables`."""

    @property
    def held(self) -> str | None:
        """Why it may be old; None: it is fresh."""
        ...

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Namespaces of which the store tells nothing that can be believed, and why."""
        ...

    def get(self, namespace: str) -> Version | None: ...

    async def ready(self) -> None: ...

    def subscribe(self, changed: Callable[[Version], None]) -> Callable[[], None]: ...


@dataclass(slots=True)
class _Namespace:
    here: dict[object, tuple[Told, Hello]] = field(default_factory=dict)
    frame: bytes | None = None


class Namespaces:
    """`keep` for as long as there is a control plane."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._known = False
        self._namespaces: dict[str, _Namespace] = {}
        self._lost: set[str] = set()
        """Those that the log has told of."""

    async def keep(self) -> None:
        await self._tables.ready()
        self._known = True
        unsubscribe = self._tables.subscribe(self._changed)
        try:
            for namespace in self._namespaces.values():
                for told, hello in namespace.here.values():
                    self._introduce(told, hello)
            await asyncio.Event().wait()
        finally:
            unsubscribe()

    def join(self, hello: Hello, told: Told) -> Callable[[], None]:
        """`told`: there is a table to be sent. Returns what ends it; to be called once."""
        place = object()
        namespace = self._namespaces.setdefault(hello.namespace, _Namespace())
        namespace.here[place] = told, hello
        if self._known:
            self._introduce(told, hello)
        return lambda: self._leave(hello.namespace, place)

    def frame(self, namespace: str) -> bytes:
        """Of a namespace somebody is in."""
        known = self._namespaces[namespace]
        if known.frame is None:
            known.frame = frames.encode(_table(namespace, self._tables.get(namespace))).encode()
        return known.frame

    def _leave(self, namespace: str, place: object) -> None:
        here = self._namespaces[namespace].here
        del here[place]
        if not here:
            del self._namespaces[namespace]

    def _changed(self, version: Version) -> None:
        namespace = self._namespaces.get(version.namespace)
        if namespace is not None:
            namespace.frame = None
            for told, _ in namespace.here.values():
                told()

    def _introduce(self, told: Told, hello: Hello) -> None:
        """Of the table, unless the agent has it, or has one of which we know too little to take it away."""
        version = self._tables.get(hello.namespace)
        number = version.number if version else 0
        is_another = hello.table_at is not None and version is not None and hello.table_at != version.at
        differs = hello.table != number or is_another
        if differs and not self._is_in_doubt(hello.namespace, version, hello.table or 0):
            told()

    def _is_in_doubt(self, namespace: str, version: Version | None, has: int) -> bool:
        """A namespace that had a version has one for ever. Where the store has none, it was lost by the store."""
        is_unreadable = namespace in self._tables.unreadable
        if version is not None:
            return has > version.number and (is_unreadable or self._tables.held is not None)
        if has and namespace not in self._lost:
            self._lost.add(namespace)
            fields = {"namespace": namespace, "agents_have": has}
            logger.warning("the store has no table of a namespace that agents have", extra={"fields": fields})
        return has > 0 or is_unreadable


def _table(namespace: str, version: Version | None) -> Table:
    if version is None:
        return Table(namespace, 0, None, None)
    content = version.content
    dtab, policies = (None, None) if content is None else (content.dtab, content.policies)
    return Table(namespace, version.number, dtab, policies, version.at, version.who, version.why)
