"""`/#/dns/<name>`: SRV, or addresses with the port of the configuration. Asked again when the TTL has passed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from discovery.address import Addr, Neg
from discovery.dns import records
from discovery.dns.resolver import Resolver
from discovery.dns.together import together
from discovery.path import Path
from discovery.source import Misconfigured, Publish


@dataclass(frozen=True, slots=True)
class DnsSource:
    resolver: Resolver
    record: str
    port: int | None

    async def observe(self, name: Path, publish: Publish) -> None:
        while True:
            addr, seconds = await self._answer(name[0])
            publish(addr)
            await asyncio.sleep(seconds)

    async def _answer(self, name: str) -> tuple[Addr, float]:
        if self.record == "srv" or (self.record == "auto" and name.startswith("_")):
            return await self._services(name)
        if self.port is None:
            raise Misconfigured(
                f"DNS: {name} has addresses but no port: set `port`, or `record: srv` if it has SRV records"
            )
        addresses, seconds = await self.resolver.resolve(name)
        return (records.hosts(addresses, self.port, name) if addresses else Neg()), seconds

    async def _services(self, name: str) -> tuple[Addr, float]:
        found, seconds = await self.resolver.services(name)
        if not found:
            return Neg(), seconds
        targets = records.targets(found)
        # The dot keeps the search list of resolv.conf away from names that are already whole.
        answers = await together(self.resolver.resolve(f"{target}.") for target in targets)
        addresses = {target: answer[0] for target, answer in zip(targets, answers, strict=True)}
        return records.services(found, addresses), min([seconds, *(answer[1] for answer in answers)])
