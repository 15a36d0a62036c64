"""Streams of lines: what is true now, and a line more whenever it changes. Latest wins, and their number is bounded.

A line is made when the one before has been taken, so that a slow reader misses what is between and holds nobody up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from aiohttp import web

from mesh.control.api.route import JSON, Refusal

MOST = 1000
PATIENCE_SECONDS = 30.0
"""A reader that takes nothing for so long is let go."""


class Broken(Exception):
    """The text is written as the last line, and the stream is closed."""


@dataclass(slots=True)
class Watching:
    most: int = MOST
    _open: set[asyncio.Task[object]] = field(default_factory=set, init=False)

    def __len__(self) -> int:
        return len(self._open)

    async def stream(
        self, request: web.Request, lines: AsyncGenerator[bytes], content_type: str = JSON
    ) -> web.StreamResponse:
        """Ends when the caller goes: then this call is cancelled."""
        if len(self._open) >= self.most:
            raise Refusal(
                503, f"{self.most} streams are open here, which is the most. Close some, or ask without `watch`"
            )
        response, task = web.StreamResponse(headers={"Content-Type": content_type}), asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            async with aclosing(lines):
                await response.prepare(request)
                if request.method != "HEAD":
                    await _write(response, lines)
        finally:
            self._open.discard(task)
        return response

    def end(self) -> None:
        """The process ends: nobody is waited for."""
        for task in self._open:
            task.cancel()


async def _write(response: web.StreamResponse, lines: AsyncGenerator[bytes]) -> None:
    try:
        async for line in lines:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await response.write(line + b"\n")
    except Broken as broken:
        await response.write(f"{broken}\n".encode())
    except (TimeoutError, ConnectionError):
        response.force_close()


def is_watched(watch: str | None) -> bool:
    """As Namerd reads it."""
    return watch in ("true", "1")
