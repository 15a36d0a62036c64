"""A source for platforms that have no watch: asks again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from discovery.address import Addr
from discovery.path import Path
from discovery.source import Publish


class Polling:
    """`fetch` answers with the truth about one name, or raises as `Source.observe` does. `every`: seconds."""

    def __init__(self, fetch: Callable[[Path], Awaitable[Addr]], every: float) -> None:
        if every <= 0:
            raise ValueError("`every` must be more than 0 seconds")
        self._fetch = fetch
        self._every = every

    async def observe(self, name: Path, publish: Publish) -> None:
        while True:
            publish(await self._fetch(name))
            await asyncio.sleep(self._every)
