"""Finagle's `/$/inet/<host>/<port>`, `/$/inet/<port>` (this host) and `/$/io.buoyant.rinet/<port>/<host>`.

Names are given without what they begin with: one or two segments for inet, two for rinet.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from discovery.address import Neg
from discovery.dns import records
from discovery.dns.resolver import Resolve
from discovery.path import Path
from discovery.source import Publish

INET = Path(("$", "inet"))
RINET = Path(("$", "io.buoyant.rinet"))
THIS_HOST = "127.0.0.1"
_HOST = re.compile(r"[A-Za-z0-9.:_-]+")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class InetSource:
    resolve: Resolve

    async def observe(self, name: Path, publish: Publish) -> None:
        host, port = name if len(name) == 2 else (THIS_HOST, name[0])
        await _observe(self.resolve, host, port, publish)


@dataclass(frozen=True, slots=True)
class RinetSource:
    resolve: Resolve

    async def observe(self, name: Path, publish: Publish) -> None:
        port, host = name
        await _observe(self.resolve, host, port, publish)


async def _observe(resolve: Resolve, host: str, port: str, publish: Publish) -> None:
    number = int(port) if _PORT.fullmatch(port) else 0
    if not 0 < number < 65536 or not _HOST.fullmatch(host):
        publish(Neg())
        return await _for_ever()
    if records.is_literal(host):
        publish(records.hosts((host,), number, host))
        return await _for_ever()
    while True:
        addresses, seconds = await resolve(host)
        publish(records.hosts(addresses, number, host) if addresses else Neg())
        await asyncio.sleep(seconds)


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
