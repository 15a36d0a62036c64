"""Containers to ask about. An event that comes while one is asked about spoils the answer: it is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(slots=True)
class Questions:
    _spoiled: dict[str, bool] = field(default_factory=dict)
    _waiting: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    def __contains__(self, id: str) -> bool:
        return id in self._spoiled

    def ask(self, id: str) -> None:
        """Several times before it is asked is once."""
        if id not in self._spoiled:
            self._waiting.put_nowait(id)
        self._spoiled[id] = True

    def spoil(self, id: str) -> None:
        if id in self._spoiled:
            self._spoiled[id] = True

    async def next(self) -> str:
        """Answer it with `answered`."""
        id = await self._waiting.get()
        self._spoiled[id] = False
        return id

    def answered(self, id: str) -> bool:
        """Whether the answer can be believed."""
        if self._spoiled[id]:
            self._waiting.put_nowait(id)
            return False
        del self._spoiled[id]
        self._answered.set()
        return True

    async def all_answered(self, ids: Collection[str]) -> None:
        while any(id in self._spoiled for id in ids):
            self._answered.clear()
            await self._answered.wait()
