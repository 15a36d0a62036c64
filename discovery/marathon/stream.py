"""The stream of events of one master, for as long as it lasts."""

from __future__ import annotations

import asyncio

import aiohttp

from discovery.marathon.sse import Event, Parser, TooLong
from discovery.source import Unavailable


class Stream:
    def __init__(self, response: aiohttp.ClientResponse, leader: str, idle: float) -> None:
        self.leader = leader
        """Whose events these are, as the answer says; '' if it does not."""
        self._response, self._idle = response, idle
        self._parser = Parser()
        self._early: list[Event] = []

    async def begin(self, kind: str, timeout: float) -> None:
        """Waits for the first event, which has to be of this kind. Raises Unavailable."""
        where = f"the event stream of {self._response.url.with_query(None)}"
        if self._response.content_type != "text/event-stream":
            raise Unavailable(f"{where} is {self._response.content_type}: is that Marathon?")
        try:
            async with asyncio.timeout(timeout):
                while not self._early:
                    self._early += await self._read()
        except TimeoutError as error:
            raise Unavailable(f"{where} has not begun within {timeout:g} s") from error
        except (aiohttp.ClientError, EOFError) as error:
            raise Unavailable(f"{where} ended before it began: is there no leader?") from error
        if self._early[0].type != kind:
            raise Unavailable(f"{where} begins with {self._early[0].type[:80]!r} instead of {kind}")

    async def events(self) -> list[Event] | None:
        """The next ones. None: it has ended, closed by the master, broken, or without a single byte for too long."""
        early, self._early = self._early, []
        if early:
            return early
        try:
            async with asyncio.timeout(self._idle):
                return await self._read()
        except (TimeoutError, aiohttp.ClientError, EOFError):
            return None

    def close(self) -> None:
        self._response.close()

    async def _read(self) -> list[Event]:
        chunk = await self._response.content.readany()
        if not chunk:
            raise EOFError
        try:
            return self._parser.feed(chunk)
        except TooLong as error:
            raise Unavailable(f"the event stream of {self._response.url.with_query(None)}: {error}") from error
