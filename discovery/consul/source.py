"""One observation: read, publish, wait for what is heard of the service next, and so on.

Every answer is the whole truth, so it is published also when it says nothing new.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote
from weakref import WeakValueDictionary

from discovery.address import Neg
from discovery.consul import records
from discovery.consul.api import Query
from discovery.consul.service import Asking, Service
from discovery.consul.view import HEALTH, LOCAL, Question, understood
from discovery.dns.together import together
from discovery.path import Path
from discovery.source import Publish


@dataclass(slots=True)
class ConsulSource:
    asking: Asking
    include_tag: bool
    scope: Query
    """Namespace, partition and consistency, as query parameters."""
    _services: WeakValueDictionary[tuple[str, str], Service] = field(default_factory=WeakValueDictionary)
    """Those that are observed, by datacenter and path."""

    async def observe(self, name: Path, publish: Publish) -> None:
        question, tag = self._question(name), name[1] if self.include_tag else None
        if question is None:
            publish(Neg())
            await asyncio.get_running_loop().create_future()
            return
        service = self._service(question)
        heard = await service.read()
        publish(heard.view.addr(tag))
        # Whoever only wanted a full read cancels now, before there is a blocking query to abandon.
        await asyncio.sleep(0)
        while True:
            heard = await service.after(heard)
            publish(heard.view.addr(tag))

    async def names(self) -> Iterable[Path]:
        reply = await self.asking.reader.api.read("/v1/catalog/datacenters", {})
        datacenters = understood(records.names, reply, "/v1/catalog/datacenters")
        listed = await together(self._listed(datacenter) for datacenter in datacenters)
        return [
            Path((datacenter, *rest)) for datacenter, names in zip(datacenters, listed, strict=True) for rest in names
        ]

    async def _listed(self, datacenter: str) -> list[tuple[str, ...]]:
        path, reader = "/v1/catalog/services", self.asking.reader
        reply = await reader.api.read(path, {**self.scope, "dc": datacenter})
        tags = understood(records.service_tags, reply, path)
        if not tags:
            await reader.must_see(datacenter)
        if self.include_tag:
            return [(tag, service) for service in tags for tag in tags[service] or ()]
        return [(service,) for service in tags]

    def _question(self, name: Path) -> Question | None:
        """None: Consul's HTTP API could not be asked for such a name, so there is none."""
        datacenter, service = name[0], name[-1]
        if posixpath.normpath(HEALTH + service) != HEALTH + service:
            return None
        where = {} if datacenter == LOCAL else {"dc": datacenter}
        return Question(HEALTH + quote(service, safe="", errors="surrogateescape"), {**self.scope, **where}, datacenter)

    def _service(self, question: Question) -> Service:
        key = question.datacenter, question.path
        return self._services.get(key) or self._services.setdefault(key, Service(question, self.asking))
