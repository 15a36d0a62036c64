"""The platforms of the demo, each started here: what knows an instance of a service, forgets it, and knows it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from scripts import consul, docker
from scripts.debian import Absent
from scripts.moto import REGION, Moto, moto
from scripts.running import service


class Platform(Protocol):
    who: str
    """What its instance answers, and what the story calls it."""
    root: str
    settings: dict[str, object]

    async def start(self) -> None:
        """One instance of `users` runs and is known."""
        ...

    async def stop(self) -> None: ...


class Consul:
    who = "users on a VM, known to Consul"
    root = "/#/consul/dc1"

    def __init__(self, running: consul.Agent, port: int) -> None:
        self._url, self._port, self.running = running.url, port, running
        self.settings: dict[str, object] = {"kind": "consul", "address": running.url, "timeout": "1s"}

    async def start(self) -> None:
        await self._put("register", {"Name": "users", "ID": "users-1", "Address": "127.0.0.1", "Port": self._port})

    async def stop(self) -> None:
        await self._put("deregister/users-1", None)

    async def _put(self, action: str, body: object) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self._url}/v1/agent/service/{action}", json=body) as response,
        ):
            response.raise_for_status()


class Docker:
    who = "users in a container, known to Docker"
    root = "/#/docker/shop"

    def __init__(self, daemon: docker.Daemon) -> None:
        self._daemon = daemon
        self.settings: dict[str, object] = {"kind": "docker", "address": daemon.url, "reach": "container"}

    async def start(self) -> None:
        serve = f"echo {self.who} > /www/index.html; exec httpd -f -p 80 -h /www"
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "users", "tieline.port": "80"}
        said = [f"--label={key}={value}" for key, value in labels.items()]
        await self._daemon.cli("run", "-d", "--name", "users", *said, docker.TINY, "sh", "-c", serve)

    async def stop(self) -> None:
        """As `docker stop`: its signal, and the end a second later."""
        await self._daemon.cli("stop", "-t", "1", "users")
        await self._daemon.cli("rm", "users")


class CloudMap:
    who = "users on ECS, known to Cloud Map"
    root = "/#/cloudmap/prod"

    def __init__(self, running: Moto, port: int) -> None:
        import boto3

        self._port = port
        keys = {"aws_access_key_id": "demo", "aws_secret_access_key": "demo", "region_name": REGION}
        # The name is the API's; the client has no stubs here.
        self._client: Any = boto3.client("servicediscovery", endpoint_url=running.url, **keys)
        namespace = self._client.create_http_namespace(Name="prod")["OperationId"]
        targets = self._client.get_operation(OperationId=namespace)["Operation"]["Targets"]
        made = self._client.create_service(Name="users", NamespaceId=targets["NAMESPACE"])
        self._id = made["Service"]["Id"]
        self.settings: dict[str, object] = {
            "kind": "cloudmap",
            "endpoint_url": running.url,
            "region": REGION,
            "every": "500ms",
        }

    async def start(self) -> None:
        attributes = {"AWS_INSTANCE_IPV4": "127.0.0.1", "AWS_INSTANCE_PORT": str(self._port)}
        register = self._client.register_instance
        await asyncio.to_thread(register, ServiceId=self._id, InstanceId="users-1", Attributes=attributes)

    async def stop(self) -> None:
        await asyncio.to_thread(self._client.deregister_instance, ServiceId=self._id, InstanceId="users-1")


class Files:
    """What a deployment writes; also where nothing else can be had."""

    def __init__(self, place: Path, prefix: str, port: int) -> None:
        self.who = f"users on a VM, known to {prefix}"
        self.root = f"/#/{prefix}"
        self._place, self._port = place / prefix, port
        self._place.mkdir()
        self.settings: dict[str, object] = {"kind": "files", "prefix": prefix, "folder": str(self._place)}

    async def start(self) -> None:
        fresh = self._place / ".users"
        fresh.write_text(f"127.0.0.1 {self._port}\n")
        fresh.rename(self._place / "users")

    async def stop(self) -> None:
        (self._place / "users").unlink()


@asynccontextmanager
async def _consul() -> AsyncIterator[Platform]:
    async with consul.agent() as running, service(Consul.who) as port:
        yield Consul(running, port)


@asynccontextmanager
async def _docker() -> AsyncIterator[Platform]:
    async with docker.daemon(reachable=True) as daemon:
        yield Docker(daemon)


@asynccontextmanager
async def _cloud_map() -> AsyncIterator[Platform]:
    async with moto() as running, service(CloudMap.who) as port:
        yield await asyncio.to_thread(CloudMap, running, port)


Opened = Callable[[], AbstractAsyncContextManager[Platform]]
REAL: dict[str, Opened] = {
    "Consul": _consul,
    "Docker": _docker,
    "Cloud Map (of AWS, played by moto's server)": _cloud_map,
}


async def opened(stack: AsyncExitStack, place: Path, say: Callable[[str], None]) -> list[Platform]:
    """In the order in which the table asks them. One that can't run here is said and left out."""
    found: list[Platform] = []
    for name, make in REAL.items():
        try:
            found.append(await stack.enter_async_context(make()))
            say(f"{name}: runs, started here")
        except (Absent, OSError, RuntimeError) as reason:
            say(f"{name}: can't run on this machine ({reason}); a folder of files takes its part")
            prefix = f"instead-of-{name.split()[0].lower()}"
            port = await stack.enter_async_context(service(f"users on a VM, known to {prefix}"))
            found.append(Files(place, prefix, port))
    port = await stack.enter_async_context(service("users on a VM, known to files"))
    found.append(Files(place, "files", port))
    say("files: a folder, as a deployment writes it")
    return found
