"""A platform in memory, and the source that observes it honestly. The test decides when it lies, fails or is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from discovery.address import Addr, Neg
from discovery.path import Path
from discovery.source import Publish


class Platform:
    def __init__(self) -> None:
        self.truth: dict[Path, Addr] = {}
        self.error: Exception | None = None
        self.silent = False
        self.asked: list[tuple[float, Path]] = []
        self.open = 0
        self._streams: dict[asyncio.Queue[Addr | Exception | None], Path] = {}

    async def observe(self, name: Path, publish: Publish) -> None:
        self.asked.append((asyncio.get_running_loop().time(), name))
        said: asyncio.Queue[Addr | Exception | None] = asyncio.Queue()
        self._streams[said] = name
        self.open += 1
        try:
            await self._answer(name, publish, said)
        finally:
            self.open -= 1
            del self._streams[said]

    async def _answer(self, name: Path, publish: Publish, said: asyncio.Queue[Addr | Exception | None]) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if not self.silent:
            publish(self.truth.get(name, Neg()))
        while (item := await said.get()) is not None:
            if isinstance(item, Exception):
                raise item
            publish(item)

    async def names(self) -> Iterable[Path]:
        return list(self.truth)

    def state(self, name: Path, addr: Addr) -> None:
        """The truth changes and every stream says so."""
        self.truth[name] = addr
        self.say(name, addr)

    def say(self, name: Path, addr: Addr) -> None:
        """The streams say so; the truth stays."""
        self._tell(addr, name)

    def fail(self, error: Exception) -> None:
        """From now on every stream fails, the open ones too."""
        self.error = error
        self._tell(error)

    def recover(self) -> None:
        self.error = None

    def end_streams(self) -> None:
        self._tell(None)

    def _tell(self, item: Addr | Exception | None, only: Path | None = None) -> None:
        for stream, name in self._streams.items():
            if only in (None, name):
                stream.put_nowait(item)
