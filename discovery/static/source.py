"""Names whose endpoints stand in the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from discovery.address import Addr, Neg
from discovery.path import Path
from discovery.source import Publish


class StaticSource:
    def __init__(self, names: Mapping[str, Addr]) -> None:
        self._names = names

    async def observe(self, name: Path, publish: Publish) -> None:
        publish(self._names.get(name[0], Neg()))
        await asyncio.get_running_loop().create_future()

    async def names(self) -> Iterable[Path]:
        return [Path((name,)) for name in self._names]
