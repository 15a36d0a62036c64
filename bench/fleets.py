"""The platforms on which Tieline and Traefik are compared, and the instances of one service on them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import aiohttp

from scripts import consul, docker
from scripts.running import service

SERVICE = "users"


@dataclass(frozen=True, slots=True)
class Instance:
    """`answer` is what it says to every request. `port`: 0 where the platform gives it an address of its own."""

    answer: str
    port: int = 0
    stack: AsyncExitStack = field(default_factory=AsyncExitStack, compare=False)


class Fleet(Protocol):
    dtab: str
    settings: dict[str, object]
    traefik: dict[str, Mapping[str, object]]
    """By the name of a set-up, what it is configured with."""

    async def start(self, answer: str) -> Instance: ...
    async def add(self, instance: Instance) -> None:
        """The platform knows it from now on."""
        ...

    async def remove(self, instance: Instance) -> None: ...
    async def replace(self, old: Instance, new: Instance) -> float:
        """When the platform was told of the new one, on the clock of `time.perf_counter`."""
        ...

    async def stop(self, instance: Instance) -> None: ...


class ConsulFleet:
    """Instances are small servers in this process; each is registered on a node of its own."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session
        self.dtab = "/svc => /#/consul/dc1"
        self.settings: dict[str, object] = {"kind": "consul", "address": url}
        watched = self._provider(url)
        self.traefik: dict[str, Mapping[str, object]] = {
            "traefik": {"providers": {"consulCatalog": watched}},
            "traefik tuned": {"providers": {"consulCatalog": {**watched, "watch": True}, **_AT_ONCE}},
        }

    @staticmethod
    def _provider(url: str) -> dict[str, object]:
        address = url.removeprefix("http://")
        return {"endpoint": {"address": address, "scheme": "http"}, "defaultRule": "Host(`{{ .Name }}`)"}

    async def start(self, answer: str) -> Instance:
        stack = AsyncExitStack()
        return Instance(answer, await stack.enter_async_context(service(answer)), stack)

    async def add(self, instance: Instance) -> None:
        await self._put("register", self._entry(instance))

    async def remove(self, instance: Instance) -> None:
        await self._put("deregister", {"Node": f"host-{instance.answer}"})

    async def replace(self, old: Instance, new: Instance) -> float:
        began = time.perf_counter()
        await self.add(new)
        await self.remove(old)
        return began

    async def stop(self, instance: Instance) -> None:
        await instance.stack.aclose()

    @staticmethod
    def _entry(instance: Instance) -> dict[str, object]:
        registered = {"ID": instance.answer, "Service": SERVICE, "Address": "127.0.0.1", "Port": instance.port}
        check = {"CheckID": instance.answer, "ServiceID": instance.answer, "Status": "passing", "Name": "up"}
        node = f"host-{instance.answer}"
        return {"Node": node, "Address": "127.0.0.1", "Service": registered, "Check": {"Node": node, **check}}

    async def _put(self, action: str, body: object) -> None:
        async with self._session.put(f"{self._url}/v1/catalog/{action}", json=body) as response:
            response.raise_for_status()


class DockerFleet:
    """Instances are containers, each with a small web server. What takes one out is its stop signal."""

    def __init__(self, daemon: docker.Daemon) -> None:
        self._daemon = daemon
        self.dtab = "/svc => /#/docker/-"
        self.settings: dict[str, object] = {"kind": "docker", "address": daemon.url, "reach": "container"}
        watched = {"endpoint": daemon.url, "defaultRule": 'Host(`{{ index .Labels "tieline.service" }}`)'}
        self.traefik: dict[str, Mapping[str, object]] = {
            "traefik": {"providers": {"docker": watched}},
            "traefik tuned": {"providers": {"docker": watched, **_AT_ONCE}},
        }

    async def start(self, answer: str) -> Instance:
        """Made, not started: a container is known when it runs."""
        serve = f"echo -n {answer} > /www/index.html; exec httpd -f -p 80 -h /www"
        labels = [f"--label=tieline.service={SERVICE}", "--label=tieline.port=80"]
        await self._daemon.cli("create", "--name", answer, *labels, "web:1", "sh", "-c", serve)
        return Instance(answer)

    async def add(self, instance: Instance) -> None:
        await self._daemon.cli("start", instance.answer)

    async def remove(self, instance: Instance) -> None:
        # It has no handler for it, so it goes on serving until it is stopped: what a graceful server does for a while.
        await self._daemon.cli("kill", "--signal", "TERM", instance.answer)

    async def replace(self, old: Instance, new: Instance) -> float:
        await self.add(new)
        await self.remove(old)
        started = await self._daemon.cli("inspect", "-f", "{{.State.StartedAt}}", new.answer)
        ago = time.time() - datetime.fromisoformat(started[:26] + "+00:00").timestamp()
        return time.perf_counter() - ago

    async def stop(self, instance: Instance) -> None:
        await self._daemon.cli("rm", "-f", instance.answer)


_AT_ONCE = {"providersThrottleDuration": "10ms"}
"""Traefik gathers changes for 2 s unless told otherwise."""


@asynccontextmanager
async def _consul() -> AsyncIterator[Fleet]:
    async with consul.agent() as running, aiohttp.ClientSession() as session:
        yield ConsulFleet(running.url, session)


@asynccontextmanager
async def _docker() -> AsyncIterator[Fleet]:
    async with docker.daemon(reachable=True) as running:
        await running.image("web:1", "EXPOSE 80")
        yield DockerFleet(running)


def fleets() -> dict[str, Callable[[], AbstractAsyncContextManager[Fleet]] | str]:
    """How to open each, or why it can't be had here."""
    return {
        "consul": _consul if consul.find() else "no Consul here",
        "docker": _docker if docker.find() else "no dockerd here",
    }
