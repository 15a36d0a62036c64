"""How long the long runs take, and what happens in them now and then."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
"""For each."""


async def every(seconds: float, for_seconds: float = SECONDS) -> AsyncIterator[int]:
    """1, 2, 3 and so on, at this pace, however long what is done takes; the first after one pause."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for turn in range(1, int(for_seconds / seconds) + 1):
        await asyncio.sleep(began + turn * seconds - loop.time())
        yield turn
