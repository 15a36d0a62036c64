"""One service of one datacenter, asked for once for all the names that want it.

Whoever begins to observe it reads it for itself first. After that there is one blocking query at a time: whoever has
the turn asks, and what is answered, or why nothing is, holds for all who wait. Who asks and leaves lets the next one
ask.

The index is never trusted to grow: one that is missing, 0 or gone backwards leads back to a plain read. A server that
was started anew lets a query with an index of its past wait in silence: who has not heard for a while waits briefly.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from discovery.consul.api import Reply
from discovery.consul.pace import NEWS, NO_NEWS, Pace
from discovery.consul.slots import SHORT_WAIT_SECONDS, Slots
from discovery.consul.view import Question, Reader, View
from discovery.source import SourceError

NO_INDEX_SECONDS = 1.0
ABSENT_SECONDS = 3.0
"""How often a service that does not exist is read when no connection is to spare for it, and heard of at the most."""
ABSENT_WAIT_SECONDS = 5.0
DOUBT_AFTER_SECONDS, DOUBT_WAIT_SECONDS = 0.1, 4.0
"""An index older than this may be one of a server that is gone: the query that uses it waits no longer than that."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What all services ask with."""

    reader: Reader
    slots: Slots
    wait: float


@dataclass(frozen=True, slots=True)
class Heard:
    """`number`: of all that was heard about the service; `at`: when, on the loop's clock."""

    number: int
    index: int
    view: View
    at: float


@dataclass(slots=True, weakref_slot=True)
class Service:
    question: Question
    asking: Asking
    _pace: Pace = field(default_factory=Pace)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _number: int = 0
    _latest: Heard | None = None
    _failed: SourceError | None = None
    _not_before: float = 0.0

    async def read(self) -> Heard:
        """A full read of its own, begun after this call."""
        while True:
            since = self._number
            reply = await self.asking.reader.api.read(self.question.path, self.question.query)
            heard = await self._heard(reply, since)
            if heard is not None:
                return heard

    async def after(self, heard: Heard) -> Heard:
        """The newest there is, when something has been heard after `heard`."""
        async with self._turn:
            if self._number == heard.number:
                try:
                    await self._ask(heard)
                except SourceError as error:
                    self._number += 1
                    self._failed = error
            if self._failed is not None:
                raise self._failed
            assert self._latest is not None
            return self._latest

    async def _ask(self, heard: Heard) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        if self._number != heard.number:
            return  # somebody has read it meanwhile
        reply = await self._news(heard)
        new = None if reply is None or reply.index < heard.index else await self._heard(reply, heard.number)
        if new is None:
            new = await self.read()
        price = NO_NEWS if new.view.says_the_same_as(heard.view) else NEWS
        self._not_before = loop.time() + self._pace.pause(price, loop.time())
        if not new.view.records and not heard.view.records:
            # Consul wakes those who wait for a service that does not exist whenever any service changes.
            self._not_before = max(self._not_before, heard.at + ABSENT_SECONDS)

    async def _heard(self, reply: Reply, since: int) -> Heard | None:
        """None: an answer that was asked for later, and knows more, has come before this one."""
        view = await self.asking.reader.view(self.question, reply, self._latest.view if self._latest else View())
        if self._latest is not None and self._number != since and reply.index < self._latest.index:
            return None
        self._number += 1
        self._failed = None
        self._latest = Heard(self._number, reply.index, view, asyncio.get_running_loop().time())
        return self._latest

    async def _news(self, heard: Heard) -> Reply | None:
        """The answer after `heard`; None when a plain read is due instead."""
        slots = self.asking.slots
        if heard.index == 0:
            await asyncio.sleep(NO_INDEX_SECONDS)
            return None
        if not heard.view.records:
            if not await slots.borrow():
                await asyncio.sleep(ABSENT_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load
                return None
        elif not await slots.take():
            return None
        wait = slots.wait_seconds(self._wait(heard))
        with slots.held(wait):
            api = self.asking.reader.api
            return await api.watch(self.question.path, self.question.query, heard.index, wait)

    def _wait(self, heard: Heard) -> float:
        now = asyncio.get_running_loop().time()
        wait = min(self.asking.wait, max(heard.view.good_until - now, SHORT_WAIT_SECONDS))
        if not heard.view.records:
            wait = min(wait, ABSENT_WAIT_SECONDS)
        return min(wait, DOUBT_WAIT_SECONDS) if now - heard.at > DOUBT_AFTER_SECONDS else wait
