"""One observation: asks for the instances, then for their revision, and for the instances again when that is another.

A revision is cheap to ask for and says nothing of health, so the instances are asked for at times, too. It is never
trusted to grow: a replica of Cloud Map that lags behind may answer with an older one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from discovery.address import Addr, Neg
from discovery.aws.api import Aws
from discovery.aws.failures import Refused
from discovery.cloudmap import records
from discovery.dns.resolver import Resolve
from discovery.dns.together import together
from discovery.path import Path
from discovery.source import Publish, Unavailable

_UNKNOWN = frozenset(("NamespaceNotFound", "ServiceNotFound"))


@dataclass(frozen=True, slots=True)
class View:
    """`revision`: None where there is no such name. `due`: when it is read again whatever the revision says."""

    addr: Addr
    revision: int | None
    due: float


@dataclass(frozen=True, slots=True)
class CloudMapSource:
    aws: Aws
    resolve: Resolve
    port: int | None
    every: float
    health_every: float

    async def observe(self, name: Path, publish: Publish) -> None:
        if not records.could_exist(name):
            publish(Neg())
            await asyncio.get_running_loop().create_future()
        while True:
            view = await self._view(name)
            publish(view.addr)
            await self._until_due(name, view)

    async def names(self) -> Iterable[Path]:
        found: list[Path] = []
        async for page in self._pages("list_namespaces"):
            for number, namespace in records.namespaces(page):
                of_it = [{"Name": "NAMESPACE_ID", "Values": [number], "Condition": "EQ"}]
                async for services in self._pages("list_services", Filters=of_it):
                    found += [Path((namespace, service)) for service in records.services(services)]
        return found

    async def _view(self, name: Path) -> View:
        answer = await self._asked("discover_instances", name, HealthStatus="ALL", MaxResults=records.MOST)
        if answer is None:
            return View(Neg(), None, math.inf)
        read = records.discovered(answer, name, self.port)
        hosts = sorted(records.unresolved(read.endpoints))
        resolved = await together(self._resolved(host) for host in hosts)
        addresses = {host: found for host, (found, _) in zip(hosts, resolved, strict=True)}
        seconds = min((seconds for _, seconds in resolved), default=math.inf)
        now = asyncio.get_running_loop().time()
        due = now + max(self.every, min(self.health_every, seconds))
        return View(records.addr(read.endpoints, addresses), read.revision, due)

    async def _resolved(self, host: str) -> tuple[tuple[str, ...], float]:
        return await self.resolve(host)

    async def _until_due(self, name: Path, view: View) -> None:
        loop = asyncio.get_running_loop()
        while (left := view.due - loop.time()) > 0:
            await asyncio.sleep(min(left, self.every))
            if loop.time() < view.due and await self._revision(name) != view.revision:
                return

    async def _revision(self, name: Path) -> int | None:
        answer = await self._asked("discover_instances_revision", name)
        return None if answer is None else records.revision(answer, name)

    async def _asked(self, operation: str, name: Path, **more: object) -> dict[str, Any] | None:
        """None: there is no such namespace, or no such service in it."""
        namespace, service = name
        try:
            return await self.aws.call(
                "servicediscovery", operation, NamespaceName=namespace, ServiceName=service, **more
            )
        except Refused as refusal:
            if refusal.code in _UNKNOWN:
                return None
            raise

    async def _pages(self, operation: str, **more: object) -> AsyncIterator[dict[str, Any]]:
        token: dict[str, object] = {}
        while True:
            page = await self.aws.call("servicediscovery", operation, **more, **token)
            yield page
            before, token = token, {key: page[key] for key in ("NextToken",) if page.get(key)}
            if not token:
                return
            if token == before:
                raise Unavailable(f"Cloud Map's answer to {operation} makes no sense: the next page is the same one")
