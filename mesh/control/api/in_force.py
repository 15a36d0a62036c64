"""The tables in force, for who asks over HTTP. Before the store has answered, nobody is told that there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mesh.control.api.route import Refusal
from mesh.control.store.protocol import Expected
from mesh.control.tables import Tables
from mesh.control.version import Change, Version


class InForce:
    """Implements `writing.Tables`: `get`, `all` and `put` raise Refusal before the store has answered."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.known = False

    async def wait(self) -> None:
        await self._tables.ready()
        self.known = True

    def get(self, namespace: str) -> Version | None:
        return self._told().get(namespace)

    def all(self) -> Mapping[str, Version]:
        return self._told().all()

    def subscribe(self, changed: Callable[[Version], None]) -> Callable[[], None]:
        return self._tables.subscribe(changed)

    async def put(self, namespace: str, change: Change, expected: Expected) -> Version:
        return await self._told().put(namespace, change, expected)

    def _told(self) -> Tables:
        if not self.known:
            raise Refusal(503, f"no table is known yet: {self._tables.held or 'the store has not answered'}")
        return self._tables
