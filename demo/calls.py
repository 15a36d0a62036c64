"""Calls by name through the proxy, one at a time or as a steady load that remembers who answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp


@dataclass(slots=True)
class Load:
    """What a load has seen. `failed`: anything that was not a 200."""

    answers: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    _latest: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def saw(self, answer: str) -> None:
        self.answers[answer] += 1
        if answer != self._latest:
            self._latest = answer
            self._changed.set()

    async def until_answered_by(self, prefix: str, seconds: float, times: int = 1) -> bool:
        """Whether, within `seconds`, the answers begin to come from a service of this name, and so many times."""
        try:
            async with asyncio.timeout(seconds):
                # A request that was under way may still be answered by the one before.
                while not await self._is_answered_by(prefix, times):
                    pass
        except TimeoutError:
            return False
        return True

    async def _is_answered_by(self, prefix: str, times: int) -> bool:
        """Whether so many answers in a row are its, once one is."""
        while not self._latest.startswith(prefix):
            self._changed.clear()
            await self._changed.wait()
        enough = self.answers[self._latest] + times - 1
        while self._latest.startswith(prefix):
            if self.answers[self._latest] >= enough:
                return True
            await asyncio.sleep(0.01)
        return False


async def call(url: str, name: str) -> tuple[int, str, str]:
    """Status, `l5d-err` and body of one call by name."""
    async with aiohttp.ClientSession() as session, session.get(url, headers={"host": name}) as response:
        return response.status, response.headers.get("l5d-err", ""), (await response.text()).strip()


@asynccontextmanager
async def load(url: str, name: str, callers: int = 4) -> AsyncIterator[Load]:
    """Calls `name` without pause for as long as the block lasts."""
    seen = Load()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        # Else aiohttp repeats a GET that was cut, and this would count too few. Its own TestClient does the same.
        session._retry_connection = False
        running = [tasks.create_task(_call_on(session, url, name, seen)) for _ in range(callers)]
        yield seen
        for task in running:
            task.cancel()


async def _call_on(session: aiohttp.ClientSession, url: str, name: str, seen: Load) -> None:
    while True:
        try:
            async with session.get(url, headers={"host": name}) as response:
                text = (await response.text()).strip()
                if response.status == 200:
                    seen.saw(text)
                else:
                    seen.failed[f"{response.status} {response.headers.get('l5d-err', '')}"] += 1
        except aiohttp.ClientError as error:
            seen.failed[type(error).__name__] += 1
        # The demo shows behaviour, not speed: leave the machine to others.
        await asyncio.sleep(0.001)
