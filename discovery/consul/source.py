"""One observation: read, publish, wait for news with a blocking query, and so on.

The index is never trusted to grow: one that is missing, 0 or gone backwards leads back to a plain read. Every answer is
the whole truth, so it is published also when it says nothing new.
"""

from __future__ import annotations

import asyncio
import math
import posixpath
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote

from discovery.address import Addr, Neg
from discovery.consul import records
from discovery.consul.api import Api, Query, Reply
from discovery.consul.pace import NEWS, NO_NEWS, Pace
from discovery.consul.records import Rules
from discovery.consul.slots import SHORT_WAIT_SECONDS, Slots
from discovery.dns.resolver import Resolve
from discovery.dns.together import together
from discovery.path import Path
from discovery.source import Misconfigured, Publish, Unavailable

T = TypeVar("T")

HEALTH = "/v1/health/service/"
LOCAL = ".local"
"""The datacenter of the agent that is asked."""
NO_INDEX_SECONDS = 1.0
ABSENT_SECONDS = 3.0
"""How often a name that does not exist is read, when no connection is to spare for it."""
ABSENT_WAIT_SECONDS = 5.0
_SIGHTED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Question:
    path: str
    query: Query
    datacenter: str


@dataclass(slots=True)
class View:
    """What the last answer meant, and until when: host names in it may change their addresses."""

    body: bytes = b""
    addr: Addr = field(default_factory=Neg)
    good_until: float = 0.0


@dataclass(slots=True)
class ConsulSource:
    api: Api
    slots: Slots
    resolve: Resolve
    rules: Rules
    wait: float
    include_tag: bool
    scope: Query
    """Namespace, partition and consistency, as query parameters."""
    _sighted: dict[str, float] = field(default_factory=dict)
    """Datacenters whose services are seen without a token, and until when that is believed."""

    async def observe(self, name: Path, publish: Publish) -> None:
        question, pace, loop = self._question(name), Pace(), asyncio.get_running_loop()
        if question is None:
            publish(Neg())
            await loop.create_future()
            return
        reply = await self.api.read(question.path, question.query)
        view = await self._view(question, reply, View())
        publish(view.addr)
        # Whoever only wanted a full read cancels now, before there is a blocking query to abandon.
        await asyncio.sleep(0)
        while True:
            reply = await self._next(question, reply.index, view)
            before, view = view, await self._view(question, reply, view)
            publish(view.addr)
            await asyncio.sleep(pace.pause(NO_NEWS if view.addr == before.addr else NEWS, loop.time()))

    async def names(self) -> Iterable[Path]:
        reply = await self.api.read("/v1/catalog/datacenters", {})
        datacenters = _understood(records.names, reply, "/v1/catalog/datacenters")
        listed = await together(self._services(datacenter) for datacenter in datacenters)
        return [
            Path((datacenter, *rest)) for datacenter, names in zip(datacenters, listed, strict=True) for rest in names
        ]

    async def _services(self, datacenter: str) -> list[tuple[str, ...]]:
        path = "/v1/catalog/services"
        tags = _understood(records.service_tags, await self.api.read(path, {**self.scope, "dc": datacenter}), path)
        if not tags:
            await self._must_see(datacenter)
        if self.include_tag:
            return [(tag, service) for service in tags for tag in tags[service] or ()]
        return [(service,) for service in tags]

    def _question(self, name: Path) -> Question | None:
        """None: Consul's HTTP API could not be asked for such a name, so there is none."""
        datacenter, *tag, service = name
        if posixpath.normpath(HEALTH + service) != HEALTH + service:
            return None
        where = {} if datacenter == LOCAL else {"dc": datacenter}
        query = {**self.scope, **where, **({"tag": tag[0]} if tag else {})}
        return Question(HEALTH + quote(service, safe="", errors="surrogateescape"), query, datacenter)

    async def _next(self, question: Question, index: int, view: View) -> Reply:
        """The answer after the one with `index`."""
        if index == 0:
            await asyncio.sleep(NO_INDEX_SECONDS)
            return await self.api.read(question.path, question.query)
        wait = min(self.wait, max(view.good_until - asyncio.get_running_loop().time(), SHORT_WAIT_SECONDS))
        if isinstance(view.addr, Neg):
            wait = min(wait, ABSENT_WAIT_SECONDS)
            if not await self.slots.borrow():
                await asyncio.sleep(ABSENT_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load
                return await self.api.read(question.path, question.query)
        elif not await self.slots.take():
            return await self.api.read(question.path, question.query)
        wait = self.slots.wait_seconds(wait)
        with self.slots.held(wait):
            reply = await self.api.watch(question.path, question.query, index, wait)
        return reply if reply.index >= index else await self.api.read(question.path, question.query)

    async def _view(self, question: Question, reply: Reply, before: View) -> View:
        now = asyncio.get_running_loop().time()
        if reply.filtered:
            raise Misconfigured(
                f"Consul hides a part of {question.path} from this token: it needs service:read and node:read"
            )
        if reply.body == before.body and now < before.good_until:
            return before
        listed = _understood(records.instances, reply, question.path)
        if not listed and reply.default_policy != "allow":
            await self._must_see(question.datacenter)
        found = records.endpoints(listed, self.rules)
        hosts = sorted(records.unresolved(found))
        answers = await together(self._resolved(host) for host in hosts)
        addresses = {host: answer[0] for host, answer in zip(hosts, answers, strict=True)}
        seconds = min((answer[1] for answer in answers), default=math.inf)
        return View(reply.body, records.addr(listed, found, addresses), now + seconds)

    async def _resolved(self, host: str) -> tuple[tuple[str, ...], float]:
        return await self.resolve(host)

    async def _must_see(self, datacenter: str) -> None:
        """Where ACLs deny by default, who has no token is told of nothing, as if nothing were there.

        Consul's servers register themselves as a service: who can't see even that one sees nothing.
        """
        now = asyncio.get_running_loop().time()
        if self.api.credential.token() or now < self._sighted.get(datacenter, 0.0):
            return
        where = {} if datacenter == LOCAL else {"dc": datacenter}
        if not _understood(records.instances, await self.api.read(f"{HEALTH}consul", where), f"{HEALTH}consul"):
            raise Misconfigured(
                f"Consul at {self.api.shown} shows no service at all, not even itself:"
                " its ACLs deny by default and no token is configured (token_file)"
            )
        self._sighted[datacenter] = now + _SIGHTED_SECONDS


def _understood(read: Callable[[bytes], T], reply: Reply, path: str) -> T:
    try:
        return read(reply.body)
    except records.Malformed as error:
        raise Unavailable(f"Consul's answer to {path} makes no sense: {error}") from error
