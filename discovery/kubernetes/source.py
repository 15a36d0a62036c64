"""A cluster as a feed: EndpointSlices say where a service is, Services what their ports are called."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass

from discovery.address import Addr
from discovery.dns.resolver import Family, Resolve
from discovery.kubernetes import endpoints
from discovery.kubernetes.access import Way
from discovery.kubernetes.api import Api, session
from discovery.kubernetes.hosts import Hosts
from discovery.kubernetes.records import Key, Service, Slice
from discovery.kubernetes.reflector import SERVICES, SLICES, Reflector
from discovery.path import Path
from discovery.shared import Told
from discovery.source import Misconfigured, Unavailable

READ_AT_ONCE = 4
"""Lists, where there are many namespaces."""
SETTLING_SECONDS = 2.0
"""So long a full read waits for host names; one that takes longer concerns only who uses it."""

_Reflectors = list[Reflector[Slice] | Reflector[Service]]


@dataclass(frozen=True, slots=True)
class Scope:
    """`namespaces`: none for all. `selector`: of labels; '' for no matter which."""

    namespaces: tuple[str, ...] = ()
    selector: str = ""
    page_size: int = 500


class KubernetesFeed:
    def __init__(self, way: Way, scope: Scope, family: Family, resolve: Resolve, timeout: float) -> None:
        self._way, self._scope, self._family = way, scope, family
        self._resolve, self._timeout = resolve, timeout
        self._slices: dict[str, Reflector[Slice]] = {}
        self._services: dict[str, Reflector[Service]] = {}
        """By namespace, or all by ''."""
        self._hosts = Hosts(resolve, lambda key: None)

    # Feed

    def key(self, name: Path) -> Hashable:
        return name[0], name[2]

    def addr(self, name: Path) -> Addr:
        namespace, port, service = name
        if self._scope.namespaces and namespace not in self._scope.namespaces:
            raise Misconfigured(f"the namespace {namespace} is not observed: add it to namespaces")
        found, slices = self._of((namespace, service))
        flaw = next((each.flaw for each in slices if each.flaw), "")
        if flaw:
            raise Unavailable(f"{flaw}; correct it, or whatever writes it")
        return endpoints.addr(port, found, slices, self._family, self._hosts.addresses)

    def names(self) -> Iterable[Path]:
        return [
            Path((namespace, port, service))
            for namespace, service in self._keys()
            for port in endpoints.segments(*self._of((namespace, service)))
        ]

    async def run(self, told: Told) -> None:
        access = await self._way()
        async with session(access) as http:
            await self._keep(Api(access, http, self._timeout), told)

    async def _keep(self, api: Api, told: Told) -> None:
        self._hosts = Hosts(self._resolve, told.changed)
        self._reflect(api, told)
        reflectors: _Reflectors = [*self._slices.values(), *self._services.values()]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hosts.run())
            await told.due()
            while True:
                await self._read(reflectors)
                told.all()
                await self._follow_until_due(reflectors, told)

    # What is known

    def _keys(self) -> set[Key]:
        reflectors: _Reflectors = [*self._slices.values(), *self._services.values()]
        return {key for each in reflectors for key in each.store.keys()}  # noqa: SIM118 - it is no dict

    def _of(self, key: Key) -> tuple[Service | None, Collection[Slice]]:
        where = key[0] if self._scope.namespaces else ""
        if where not in self._slices:
            return None, ()
        service = next(iter(self._services[where].store.of(key)), None)
        return service, self._slices[where].store.of(key)

    def _reflect(self, api: Api, told: Told) -> None:
        def changed(key: Key) -> None:
            self._hosts.use(key, endpoints.host_names(*self._of(key)))
            if self._hosts.knows(key):
                told.changed(key)

        namespaces, selector, size = self._scope.namespaces or ("",), self._scope.selector, self._scope.page_size
        self._slices = {
            each: Reflector(api, SLICES, namespace=each, selector=selector, page_size=size, changed=changed)
            for each in namespaces
        }
        self._services = {
            each: Reflector(api, SERVICES, namespace=each, selector=selector, page_size=size, changed=changed)
            for each in namespaces
        }

    async def _read(self, reflectors: _Reflectors) -> None:
        free = asyncio.Semaphore(READ_AT_ONCE)

        async def read(reflector: Reflector[Slice] | Reflector[Service]) -> None:
            async with free:
                await reflector.read()

        async with asyncio.TaskGroup() as group:
            for each in reflectors:
                group.create_task(read(each))
        self._use_hosts()
        await self._hosts.settled(SETTLING_SECONDS)

    def _use_hosts(self) -> None:
        for key in self._keys().union(self._hosts.keys()):
            self._hosts.use(key, endpoints.host_names(*self._of(key)))

    @staticmethod
    async def _follow_until_due(reflectors: _Reflectors, told: Told) -> None:
        """The watches stop for a full read. Nothing is lost: the next ones begin where it was made."""
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(each.follow()) for each in reflectors]
            await told.due()
            for watch in watches:
                watch.cancel()
