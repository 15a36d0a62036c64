"""One host over all platforms, and a name of one of them as the host and its Envoy see it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from demo.calls import Load, load
from mesh.agent.envoy_admin import get
from scripts.running import eventually
from tests.host import PATIENCE, Host, host
from tests.scenarios.platforms import PLATFORMS, Platform

Json = dict[str, Any]
LONG = float(os.environ.get("SOAK_SECONDS", "60"))
"""How long a scenario goes on that is marked soak."""


@dataclass(frozen=True, slots=True)
class Name:
    """One name of one platform. `called`: the Host that leads to it."""

    host: Host
    platform: Platform
    label: str

    @property
    def called(self) -> str:
        return f"{self.label}-{self.platform.kind}"

    @property
    def id(self) -> str:
        return self.platform.id(self.label)

    def load(self, callers: int = 2) -> Any:
        return load(self.host.agent.url, self.called, callers=callers)

    async def serve(self, *ports: int) -> None:
        await self.platform.serve(self.label, *ports)

    async def begin(self, *ports: int) -> None:
        """These are its instances, and a first call has been answered: what is polled may take a moment to be seen."""
        await self.serve(*ports)

        async def answered() -> bool:
            return (await self.host.call(self.called)).status == 200

        await eventually(answered, PATIENCE, f"{self.called} is not answered\n{self.host.agent.tail()}")

    async def known(self) -> Json:
        """What explain says of the bound name."""
        return await known(self.host, self.called, self.id)

    async def ports(self) -> set[int]:
        return {endpoint["port"] for endpoint in (await self.known()).get("endpoints", ())}

    async def until_ports(self, *ports: int, seconds: float = PATIENCE) -> None:
        """Until explain, and then Envoy itself, has exactly these."""

        async def explained() -> bool:
            return await self.ports() == set(ports)

        async def applied() -> bool:
            return await envoy_ports(self.host, self.id) == set(ports)

        await eventually(explained, seconds, f"{self.id} does not lead to {ports}\n{self.host.agent.tail()}")
        await eventually(applied, seconds, f"Envoy's {self.id} does not lead to {ports}")

    async def until_held(self) -> Json:
        async def held() -> bool:
            return bool((await self.known()).get("held"))

        await eventually(held, PATIENCE, f"{self.id} is not held\n{self.host.agent.tail()}")
        return await self.known()

    async def until_fresh(self, seconds: float = PATIENCE) -> None:
        async def fresh() -> bool:
            known = await self.known()
            return known["state"] == "known" and not known["held"]

        await eventually(fresh, seconds, f"{self.id} is not believed again\n{self.host.agent.tail()}")

    async def more_answers(self, seen: Load, count: int = 100) -> None:
        """Until so many calls more have been answered."""
        before = seen.answers.total() + seen.failed.total()
        what = f"the load on {self.called} stopped"
        await eventually(lambda: seen.answers.total() + seen.failed.total() >= before + count, PATIENCE, what)

    async def source(self) -> Json:
        return await source(self.host, self.platform)


@dataclass(frozen=True, slots=True)
class Fleet:
    host: Host
    platforms: Mapping[str, Platform]

    def name(self, label: str, kind: str) -> Name:
        return Name(self.host, self.platforms[kind], label)


Table = Callable[[Mapping[str, Platform]], Iterable[str]]
"""The dentries over these platforms."""


def each(*labels: str) -> Table:
    """Each label is a name on each platform, called `<label>-<kind>`."""
    return lambda platforms: (
        f"/svc/{label}-{kind} => {it.id(label)}" for kind, it in platforms.items() for label in labels
    )


@asynccontextmanager
async def fleet(table: Table, kinds: Iterable[str] = PLATFORMS, **settings: object) -> AsyncIterator[Fleet]:
    """`settings`: of every source, instead of what its platform has."""
    async with AsyncExitStack() as stack:
        platforms = {kind: await stack.enter_async_context(PLATFORMS[kind]()) for kind in kinds}
        sources = [{**platform.settings, **settings} for platform in platforms.values()]
        started = await stack.enter_async_context(host(";".join(table(platforms)), sources=sources))
        yield Fleet(started, platforms)
        await started.no_nacks()


async def known(started: Host, called: str, id: str) -> Json:
    found: Any = (await started.json(f"/explain?name={called}"))["endpoints"]
    return dict(found.get(id, {}))


async def source(started: Host, platform: Platform) -> Json:
    rows: Any = (await started.json("/status"))["sources"]
    return next(row for row in rows if row["kind"] == platform.kind)


async def eds_pushes(started: Host) -> int:
    """Responses with endpoints that were sent to Envoy."""
    proxies: Any = (await started.json("/status"))["proxies"]
    return sum(proxy["types"].get("EDS", {}).get("sent", 0) for proxy in proxies)


async def envoy_ports(started: Host, cluster: str) -> set[int]:
    """Of the cluster's hosts, as Envoy's own admin interface lists them."""
    answer = json.loads(await get(started.agent.folder / "run" / "envoy.sock", "/clusters?format=json"))
    return {
        endpoint["address"]["socket_address"]["port_value"]
        for one in answer.get("cluster_statuses", ())
        if one["name"] == cluster
        for endpoint in one.get("host_statuses", ())
    }
