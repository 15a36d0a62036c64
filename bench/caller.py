"""One keep-alive connection that calls names one after the other and times each call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Caller:
    port: int
    times: list[float] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    async def call(self, name: str, more: str = "") -> tuple[int, bytes]:
        """Status and body. `more`: header lines, each with its end."""
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(f"GET / HTTP/1.1\r\nhost: {name}\r\n{more}\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        return int(head[9:12]), await self._reader.readexactly(length)

    async def timed(self, name: str, more: str = "") -> float:
        """Seconds; a status other than 200 is counted in `failed`."""
        began = time.perf_counter()
        status, body = await self.call(name, more)
        spent = time.perf_counter() - began
        if status != 200:
            self.failed[name] = f"{status} {body[:200].decode(errors='replace')}"
        return spent


async def call_all(port: int, names: Iterable[str], connections: int) -> dict[str, str]:
    """Calls every name once; what failed and how."""
    waiting = iter(names)
    failed: dict[str, str] = {}

    async def work() -> None:
        async with Caller(port) as caller:
            for name in waiting:
                await caller.timed(name)
            failed.update(caller.failed)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(work())
    return failed
