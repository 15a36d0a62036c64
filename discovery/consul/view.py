"""What an answer about a service means: parsed, checked for what ACLs may have hidden, its host names resolved."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from discovery.address import Addr
from discovery.consul import records
from discovery.consul.api import Api, Query, Reply
from discovery.consul.records import Record, Rules
from discovery.dns.resolver import Resolve
from discovery.dns.together import together
from discovery.source import Misconfigured, Unavailable

T = TypeVar("T")

HEALTH = "/v1/health/service/"
LOCAL = ".local"
"""The datacenter of the agent that is asked."""
_SIGHTED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Question:
    path: str
    query: Query
    datacenter: str


@dataclass(slots=True)
class View:
    """All of a service, and until when it is true: host names in it may change their addresses."""

    digest: bytes = b""
    records: tuple[Record, ...] = ()
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why host names could not be resolved: an error of those names that need one of them."""
    good_until: float = 0.0
    _addrs: dict[str | None, Addr] = field(default_factory=dict)

    def addr(self, tag: str | None) -> Addr:
        """Of the instances with that tag, of all if None. Raises Unavailable."""
        if tag not in self._addrs:
            found = self.records if tag is None else records.tagged(self.records, tag)
            for host in sorted(records.unresolved(found) & self.failures.keys()):
                raise Unavailable(self.failures[host])
            self._addrs[tag] = records.addr(found, self.addresses)
        return self._addrs[tag]

    def says_the_same_as(self, other: View) -> bool:
        return self is other or (self.records, self.addresses, self.failures) == (
            other.records,
            other.addresses,
            other.failures,
        )


@dataclass(slots=True)
class Reader:
    api: Api
    resolve: Resolve
    rules: Rules
    _sighted: dict[str, float] = field(default_factory=dict)
    """Datacenters whose services are seen without a token, and until when that is believed."""

    async def view(self, question: Question, reply: Reply, before: View) -> View:
        """`before`: the last one of that question. It is returned where nothing is new."""
        if reply.filtered:
            raise Misconfigured(
                f"Consul hides a part of {question.path} from this token: it needs service:read and node:read"
            )
        digest, now = hashlib.blake2b(reply.body, digest_size=16).digest(), asyncio.get_running_loop().time()
        if digest == before.digest and now < before.good_until:
            return before
        if digest == before.digest:
            found = before.records
        else:
            found = records.records(understood(records.instances, reply, question.path), self.rules)
        if not found and reply.default_policy != "allow":
            await self.must_see(question.datacenter)
        return await self._resolved(digest, found)

    async def must_see(self, datacenter: str) -> None:
        """Where ACLs deny by default, who has no token is told of nothing, as if nothing were there.

        Consul's servers register themselves as a service: who can't see even that one sees nothing.
        """
        now = asyncio.get_running_loop().time()
        if self.api.credential.token() or now < self._sighted.get(datacenter, 0.0):
            return
        where = {} if datacenter == LOCAL else {"dc": datacenter}
        if not understood(records.instances, await self.api.read(f"{HEALTH}consul", where), f"{HEALTH}consul"):
            raise Misconfigured(
                f"Consul at {self.api.shown} shows no service at all, not even itself:"
                " its ACLs deny by default and no token is configured (token_file)"
            )
        self._sighted[datacenter] = now + _SIGHTED_SECONDS

    async def _resolved(self, digest: bytes, found: tuple[Record, ...]) -> View:
        hosts = sorted(records.unresolved(found))
        answers = await together(self._addresses(host) for host in hosts)
        seconds = min((seconds for _, seconds in answers), default=math.inf)
        addresses: dict[str, tuple[str, ...]] = {}
        failures: dict[str, str] = {}
        for host, (answer, _) in zip(hosts, answers, strict=True):
            if isinstance(answer, str):
                failures[host] = answer
            else:
                addresses[host] = answer
        return View(digest, found, addresses, failures, asyncio.get_running_loop().time() + seconds)

    async def _addresses(self, host: str) -> tuple[tuple[str, ...] | str, float]:
        """The addresses, or why there are none, and for how many seconds that is good."""
        try:
            return await self.resolve(host)
        except Unavailable as error:
            return str(error), 0.0


def understood(read: Callable[[bytes], T], reply: Reply, path: str) -> T:
    try:
        return read(reply.body)
    except records.Malformed as error:
        raise Unavailable(f"Consul's answer to {path} makes no sense: {error}") from error
