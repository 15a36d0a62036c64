"""One cluster: read again and again, and told of between two reads where there is a queue.

Only what is observed is looked up beyond the tasks, so a service is wanted and prepared before it is joined.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterable
from contextlib import suppress

from discovery.address import Addr, Bound, Neg
from discovery.aws.failures import Refused
from discovery.ecs import endpoints
from discovery.ecs.lookup import Lookup
from discovery.ecs.pace import Pace
from discovery.ecs.queue import Ear, Queue, Unread
from discovery.ecs.reading import Asking, is_no_cluster
from discovery.ecs.records import Definition, Task
from discovery.ecs.tasks import Tasks
from discovery.path import Path
from discovery.shared import Told
from discovery.source import SourceError


class ClusterFeed:
    """`pace`: seconds between reads, at least and at most. `default_port`: of names that say none."""

    def __init__(
        self,
        cluster: str,
        asking: Asking,
        definitions: dict[str, Definition],
        *,
        pace: tuple[float, float],
        default_port: str,
        queue: Queue | None,
    ) -> None:
        self._cluster = cluster
        self._asking = asking
        self._pace = pace
        self._default_port = default_port
        self._queue = queue
        self._tasks = Tasks()
        self._lookup = Lookup(cluster, asking, self._tasks, definitions)
        self._addrs: dict[str, dict[str, Addr]] = {}
        self._wanted: Counter[str] = Counter()
        self._has_read = False
        self._reading = asyncio.Lock()
        self._pause: asyncio.Timeout | None = None
        self._again = False

    # For whoever observes

    def want(self, service: str) -> None:
        self._wanted[service] += 1

    def leave(self, service: str) -> None:
        self._wanted[service] -= 1
        if not self._wanted[service]:
            del self._wanted[service]
            self._addrs.pop(service, None)

    async def prepare(self, service: str) -> None:
        """Returns when `addr` can tell, as long as nothing else is awaited meanwhile."""
        if self._has_read:
            await self._lookup.complete([service])
            if not self._tasks.of(service) and self._lookup.exists(service):
                # It may have been made since the last read, and the next one may be far.
                self._read_soon()

    # For `Shared`

    def key(self, name: Path) -> Hashable:
        return name[1]

    def addr(self, name: Path) -> Addr:
        service, port = name[1], name[2] if len(name) > 2 else ""
        tasks = self._tasks.of(service).values()
        if not tasks:
            return Bound() if self._lookup.exists(service) else Neg()
        found = self._addrs.setdefault(service, {})
        if port not in found:
            if refusal := self._lookup.refusal(tasks):
                raise refusal
            found[port] = endpoints.addr(tasks, port, self._default_port, self._lookup.details)
        return found[port]

    def names(self) -> Iterable[Path]:
        return [Path((self._cluster, service)) for service in self._wanted]

    async def run(self, told: Told) -> None:
        self._has_read = False
        self._forget(self._tasks.clear())
        self._lookup.forget(everything=True)
        try:
            if self._queue is None:
                await self._read_on(told)
            else:
                with self._queue.heard(self._cluster) as ear:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._read_on(told))
                        group.create_task(self._hear(told, ear))
        finally:
            self._has_read = False

    async def _read_on(self, told: Told) -> None:
        loop, pace = asyncio.get_running_loop(), Pace(*self._pace)
        await told.due()
        while True:
            started = loop.time()
            async with self._reading:
                changed = await self._read()
                self._has_read = True
                told.all()
            # Where events tell what changes, reading is for those that were lost.
            seconds = pace.after(changed=changed) if self._queue is None else pace.most
            await self._wait(told, started + seconds)

    async def _wait(self, told: Told, until: float) -> None:
        if not self._again:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until) as self._pause:
                    await told.due()
        self._pause, self._again = None, False

    async def _read(self) -> bool:
        self._tasks.begin()
        try:
            changed = self._tasks.read(*await self._asking.tasks(self._cluster, self._tasks.known.keys()))
        except Refused as error:
            if not is_no_cluster(error):
                raise
            changed = self._tasks.clear()
        self._lookup.forget()
        self._forget(changed)
        while not self._lookup.is_complete(self._wanted):
            await self._lookup.complete(list(self._wanted))
        return bool(changed)

    async def _hear(self, told: Told, ear: Ear) -> None:
        while True:
            heard = [await ear.get()]
            while not ear.empty():
                heard.append(ear.get_nowait())
            changed = {each.service for each in heard if isinstance(each, Task) and self._tasks.hear(each)}
            self._forget(changed)
            for service in changed & self._wanted.keys():
                await self._lookup.complete([service])
                told.changed(service)
            if any(isinstance(each, Unread) for each in heard):
                self._read_soon()
            for failure in (each for each in heard if isinstance(each, SourceError)):
                # What is being read is the truth all the same, and told first.
                async with self._reading:
                    raise failure

    def _read_soon(self) -> None:
        self._again = True
        if self._pause is not None:
            self._pause.reschedule(asyncio.get_running_loop().time())

    def _forget(self, changed: Iterable[str]) -> None:
        for service in changed:
            self._addrs.pop(service, None)
