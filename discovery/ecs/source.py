"""Opens a cluster while any of its services is observed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from discovery.address import Neg
from discovery.dns.together import together
from discovery.ecs.feed import ClusterFeed
from discovery.ecs.reading import Asking, is_name
from discovery.path import Path
from discovery.shared import Shared
from discovery.source import Publish


@dataclass(slots=True)
class _Cluster:
    feed: ClusterFeed
    shared: asyncio.Future[Shared]
    unused: asyncio.Event = field(default_factory=asyncio.Event)
    users: int = 0


class EcsSource:
    """`async with EcsSource(…) as source`. `feed` makes the feed of a cluster."""

    def __init__(self, asking: Asking, feed: Callable[[str], ClusterFeed]) -> None:
        self._asking = asking
        self._feed = feed
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clusters: dict[str, _Cluster] = {}

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    async def observe(self, name: Path, publish: Publish) -> None:
        cluster, service = name[0], name[1]
        if not is_name(cluster) or not is_name(service):
            publish(Neg())
            await asyncio.get_running_loop().create_future()
        of = self._of(cluster)
        of.users += 1
        of.feed.want(service)
        try:
            shared = await asyncio.shield(of.shared)
            await of.feed.prepare(service)
            await shared.observe(name, publish)
        finally:
            of.feed.leave(service)
            of.users -= 1
            if not of.users:
                self._clusters.pop(cluster, None)
                of.unused.set()

    async def names(self) -> Iterable[Path]:
        """One for each service; which ports it has is not looked up."""
        found = []
        for cluster in await self._asking.clusters():
            found += [Path((cluster, service)) for service in await self._asking.services(cluster)]
        return found

    async def reread(self, within: float) -> None:
        opened = [each.shared.result() for each in self._clusters.values() if each.shared.done()]
        await together(shared.reread(within) for shared in opened)

    def _of(self, cluster: str) -> _Cluster:
        if cluster not in self._clusters:
            made = _Cluster(self._feed(cluster), asyncio.get_running_loop().create_future())
            self._clusters[cluster] = made
            task = self._group.create_task(self._keep_open(made))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._clusters[cluster]

    @staticmethod
    async def _keep_open(cluster: _Cluster) -> None:
        """A task of its own, since what is opened has to be closed by the same one."""
        async with Shared(cluster.feed) as shared:
            cluster.shared.set_result(shared)
            await cluster.unused.wait()
