"""Docker as a feed. `Session` keeps `Fleet` true; here stands what a name means of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from discovery.address import Addr
from discovery.dns.resolver import Resolve
from discovery.docker import endpoints
from discovery.docker.api import Api, Server, Slow
from discovery.docker.endpoints import Rules
from discovery.docker.fleet import Fleet
from discovery.docker.session import Session
from discovery.docker.threads import Threads
from discovery.path import Path
from discovery.shared import Told
from discovery.source import Misconfigured, Unavailable

_LEAVING_SECONDS = 0.5
"""For the threads to end once their connections are cut; who just looks up a host name is left to it."""


@dataclass(frozen=True, slots=True)
class Reach:
    """`local`: the daemon is on this machine."""

    local: bool
    host: str
    """Address or name of the containers' host, as it is reached from here."""
    published: bool | None
    """None: the daemon decides."""
    network: str | None

    def rules(self, server: Server, address: str) -> Rules:
        # The networks of a daemon without root are in a namespace of its own.
        published = self.published if self.published is not None else server.rootless or not self.local
        return Rules(
            published=published, local=self.local, host_address=address, host=server.name, network=self.network
        )


@dataclass(slots=True)
class DockerFeed:
    connect: Callable[[], Api]
    reach: Reach
    resolve: Resolve
    timeout: float
    stopping: float
    _fleet: Fleet = field(default_factory=Fleet)
    _rules: Rules | None = None

    async def run(self, told: Told) -> None:
        self._fleet = Fleet()
        api, threads = self.connect(), Threads()
        try:
            server = await self._server(api, threads)
            session = Session(api, threads, server, self._fleet, told, self.timeout, self.stopping)
            await session.run(lambda: self._set_rules(server))
        finally:
            api.cut()
            if await threads.ended(_LEAVING_SECONDS):
                api.close()

    def key(self, name: Path) -> Hashable:
        return name[0], name[1]

    def addr(self, name: Path) -> Addr:
        assert self._rules is not None
        try:
            return endpoints.addr(self._fleet.of((name[0], name[1])), self._rules)
        except endpoints.Unclear as unclear:
            raise Misconfigured(str(unclear)) from unclear

    def names(self) -> Iterable[Path]:
        return [Path(key) for key in self._fleet.keys()]  # noqa: SIM118 - it is no dict

    async def _server(self, api: Api, threads: Threads) -> Server:
        try:
            async with asyncio.timeout(2 * self.timeout):
                return await threads.run(api.connect)
        except TimeoutError as error:
            raise Slow(f"Docker has not answered within {2 * self.timeout:g} s") from error

    async def _set_rules(self, server: Server) -> None:
        """Before every full read: what the host's name leads to may change."""
        addresses, _ = await self.resolve(self.reach.host)
        if not addresses:
            raise Unavailable(f"the host of the containers, {self.reach.host}, has no address; set host_address")
        self._rules = self.reach.rules(server, addresses[0])
