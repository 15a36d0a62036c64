"""What a real dockerd can't be made to say: garbage, half answers, silence, lost events; and Podman's dialect.

Knows the requests of our source, and `_ping` for the third parties that judge it. Whatever else is asked fails.
Shapes: Docker Engine API 1.41; Podman 4 (its `compat` handlers).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from aiohttp import web

VERSION = "1.41"


@dataclass(slots=True)
class FakeContainer:
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    """Address by network."""
    exposed: tuple[int, ...] = ()
    published: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    """Host address and port by container port."""
    mode: str = "default"
    state: str = "running"
    health: str | None = None
    stop_signal: str | None = None

    @property
    def id(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()


@dataclass(slots=True)
class FakeDocker:
    podman: bool = False
    name: str = "docker-host"
    rootless: bool = False
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    status: int = 200
    silent: bool = False
    """Nothing that happens is told."""
    stalls: bool = False
    stuck: set[str] = field(default_factory=set)
    """Names of containers about which dockerd itself waits for ever."""
    garbage: bytes | None = None
    """The body of every list."""
    breaks_off: bool = False
    event_garbage: bytes | None = None
    list_taken: Callable[[], None] | None = None
    """Called when a list has been made and is not sent yet."""
    inspect_taken: Callable[[], Awaitable[None]] | None = None
    """The same of one container; it is sent when this returns."""
    _streams: dict[asyncio.Queue[bytes | None], Mapping[str, list[str]]] = field(default_factory=dict)
    _was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    # What happens

    def run(self, container: FakeContainer) -> None:
        self.containers[container.id] = container
        self.tell(container, "create")
        for network in container.networks:
            self.tell_network(container, "connect", network)
        self.tell(container, "start")

    def stop(self, name: str, *, signal: int = 15) -> None:
        container = self.named(name)
        self.kill(name, signal)
        container.state = "exited"
        self.tell(container, "died" if self.podman else "die", exitCode="0")

    def kill(self, name: str, signal: int) -> None:
        self.tell(self.named(name), "kill", signal=str(signal))

    def remove(self, name: str) -> None:
        container = self.named(name)
        if container.state == "running":
            self.stop(name, signal=9)
        del self.containers[container.id]
        self.tell(container, "remove" if self.podman else "destroy")

    def set_state(self, name: str, state: str, action: str) -> None:
        container = self.named(name)
        container.state = state
        self.tell(container, action)

    def set_health(self, name: str, status: str) -> None:
        container = self.named(name)
        container.health = status
        if self.podman:
            self.tell(container, "health_status", status=status)
        else:
            self.tell(container, f"health_status: {status}")

    def connect(self, name: str, network: str, address: str) -> None:
        container = self.named(name)
        container.networks[network] = address
        self.tell_network(container, "connect", network)

    def disconnect(self, name: str, network: str) -> None:
        container = self.named(name)
        del container.networks[network]
        self.tell_network(container, "disconnect", network)

    def named(self, name: str) -> FakeContainer:
        return next(container for container in self.containers.values() if container.name == name)

    # What is told

    def tell(self, container: FakeContainer, action: str, *, status: str = "", **attributes: str) -> None:
        said = {**attributes, **container.labels, "image": "tiny:1", "name": container.name}
        more = {"HealthStatus": status} if status else {}
        self._tell({"Type": "container", "Action": action, "Actor": {"ID": container.id, "Attributes": said}, **more})

    def tell_network(self, container: FakeContainer, action: str, network: str) -> None:
        said = {"container": container.id, "name": network, "type": "bridge"}
        actor = {"ID": "0" * 64, "Attributes": said}
        if self.podman:
            actor = {"ID": container.id, "Attributes": {"network": network, "name": container.name}}
        self._tell({"Type": "network", "Action": action, "Actor": actor})

    def tell_raw(self, line: bytes) -> None:
        for queue in self._streams:
            queue.put_nowait(line)

    def _tell(self, event: dict[str, object]) -> None:
        now = time.time_ns()
        line = json.dumps({**event, "scope": "local", "time": now // 10**9, "timeNano": now}).encode() + b"\n"
        for queue, filters in self._streams.items():
            action = str(event["Action"]).partition(":")[0]
            is_wanted = event["Type"] in filters.get("type", [event["Type"]]) and action in filters.get(
                "event", [action]
            )
            if is_wanted and not self.silent:
                queue.put_nowait(line)

    def end_streams(self) -> None:
        for queue in self._streams:
            queue.put_nowait(None)

    async def has_been_asked(self, what: str, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while sum(each.startswith(what) for each in self.asked) < times:
                self._was_asked.clear()
                await self._was_asked.wait()

    # What is answered

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.removeprefix(f"/v{VERSION}")
        self.asked.append(path)
        self._was_asked.set()
        if self.stalls:
            await asyncio.get_running_loop().create_future()
        if self.status != 200:
            return web.json_response({"message": "not allowed"}, status=self.status)
        if path == "/_ping":
            return web.Response(text="OK", headers={"Api-Version": VERSION, "Ostype": "linux"})
        if request.method != "GET":
            return self._refuse(request)
        if path == "/version":
            return web.json_response(self._version())
        if path == "/info":
            return web.json_response(self._info())
        if path == "/events":
            return await self._events(request)
        if path == "/containers/json":
            return await self._list(request)
        if path.startswith("/containers/") and path.endswith("/json"):
            return await self._inspect(request, path.split("/")[2])
        return self._refuse(request)

    def _refuse(self, request: web.BaseRequest) -> web.Response:
        self.unexpected.append(f"{request.method} {request.path_qs}")
        return web.json_response({"message": "page not found"}, status=501)

    def _version(self) -> dict[str, object]:
        engine = "Podman Engine" if self.podman else "Engine"
        components = [{"Name": engine, "Version": "20.10.24", "Details": {}}]
        return {"ApiVersion": VERSION, "MinAPIVersion": "1.12", "Version": "20.10.24", "Components": components}

    def _info(self) -> dict[str, object]:
        options = ["name=seccomp,profile=default", *(["name=rootless"] if self.rootless else [])]
        return {"Name": self.name, "SystemTime": _now(), "SecurityOptions": options, "ID": "x"}

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        filters = json.loads(request.query.get("filters", "{}"))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        await response.prepare(request)
        self._streams[queue] = filters
        try:
            while (line := await queue.get()) is not None:
                await response.write(line)
            await response.write_eof()
        except ConnectionError:
            pass
        finally:
            del self._streams[queue]
        return response

    async def _list(self, request: web.BaseRequest) -> web.StreamResponse:
        filters = json.loads(request.query.get("filters", "{}"))
        ids = _wanted(filters, "id")
        chosen = [
            container
            for container in self.containers.values()
            if (ids is None or container.id in ids)
            and (request.query.get("all") in ("1", "true", "True") or container.state == "running")
        ]
        body = self.garbage or json.dumps([self._listed(container) for container in chosen]).encode()
        if self.list_taken is not None:
            self.list_taken()
        if self.breaks_off:
            return await _half(request, body)
        return web.Response(body=body, content_type="application/json")

    async def _inspect(self, request: web.BaseRequest, id: str) -> web.StreamResponse:
        found = self.containers.get(id) or next(
            (each for key, each in self.containers.items() if each.name == id or key.startswith(id)), None
        )
        if found is None:
            return web.json_response({"message": f"No such container: {id}"}, status=404)
        if found.name in self.stuck:
            await asyncio.get_running_loop().create_future()
        answer = self._inspected(found)
        if self.inspect_taken is not None:
            await self.inspect_taken()
        return web.json_response(answer)

    def _listed(self, container: FakeContainer) -> dict[str, object]:
        health = "" if self.podman or container.health is None else f" ({_shown(container.health)})"
        status = {"running": f"Up 2 minutes{health}", "paused": "Up 2 minutes (Paused)"}.get(
            container.state, "Exited (0)"
        )
        return {
            "Id": container.id,
            "Names": [f"/{container.name}", f"/other/{container.name}-alias"],
            "Image": "tiny:1",
            "ImageID": "sha256:" + "0" * 64,
            "Command": "sleep 1000000",
            "Created": 1_700_000_000,
            "Ports": self._listed_ports(container),
            "Labels": container.labels,
            "State": container.state,
            "Status": status,
            # Podman's list says so of every container.
            "HostConfig": {"NetworkMode": "host" if self.podman else container.mode},
            "NetworkSettings": {"Networks": _networks(container)},
            "Mounts": [],
        }

    def _listed_ports(self, container: FakeContainer) -> list[dict[str, object]]:
        if container.state not in ("running", "paused") or container.mode != "default":
            return []
        found: list[dict[str, object]] = []
        for port in sorted({*container.exposed, *container.published}):
            bindings = container.published.get(port, [])
            found += [
                {"IP": address, "PrivatePort": port, "PublicPort": public, "Type": "tcp"}
                for address, public in bindings
            ] or [{"PrivatePort": port, "Type": "tcp"}]
        return [*found, {"PrivatePort": 53, "Type": "udp"}]

    def _inspected(self, container: FakeContainer) -> dict[str, object]:
        health = {"Health": {"Status": container.health, "FailingStreak": 0, "Log": []}} if container.health else {}
        ports = sorted({*container.exposed, *container.published})
        bindings = {
            f"{port}/tcp": [{"HostIp": ip, "HostPort": str(public)} for ip, public in container.published.get(port, [])]
            or None
            for port in ports
        }
        return {
            "Id": container.id,
            "Name": container.name if self.podman else f"/{container.name}",
            "Created": "2026-11-24T23:01:47.706583547Z",
            "Image": "sha256:" + "0" * 64,
            "State": {"Status": container.state, "Running": container.state == "running", "Pid": 1, **health},
            "Config": {
                "Labels": container.labels,
                "Image": "tiny:1",
                "ExposedPorts": {f"{port}/tcp": {} for port in ports} or None,
                **({"StopSignal": container.stop_signal} if container.stop_signal else {}),
            },
            "HostConfig": {"NetworkMode": container.mode},
            "NetworkSettings": {
                "Ports": bindings if container.mode == "default" and container.state == "running" else {},
                "Networks": _networks(container),
            },
            "Mounts": [],
        }


def _wanted(filters: Mapping[str, object], key: str) -> list[str] | None:
    """Both forms of filters: `{"id": ["a"]}` and `{"id": {"a": true}}`."""
    return list(filters[key]) if key in filters else None  # type: ignore[call-overload]


def _networks(container: FakeContainer) -> dict[str, object]:
    if container.mode == "host":
        return {"host": {"NetworkID": "0" * 64, "IPAddress": "", "GlobalIPv6Address": ""}}
    running = container.state in ("running", "paused")
    return {
        name: {
            "NetworkID": hashlib.sha256(name.encode()).hexdigest(),
            "IPAddress": address if running and ":" not in address else "",
            "GlobalIPv6Address": address if running and ":" in address else "",
        }
        for name, address in container.networks.items()
    }


def _shown(health: str) -> str:
    return "health: starting" if health == "starting" else health


def _now() -> str:
    seconds, nanos = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanos:09d}Z"


async def _half(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


@dataclass(slots=True)
class Served:
    """A fake and where it listens. `go_dark` and `come_back` keep the place."""

    fake: FakeDocker
    place: FilePath | int
    tls: ssl.SSLContext | None = None
    _runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.place}" if isinstance(self.place, FilePath) else f"tcp://127.0.0.1:{self.place}"

    async def come_back(self) -> None:
        self._runner = web.ServerRunner(web.Server(self.fake.answer, handler_cancellation=True), shutdown_timeout=0.01)
        await self._runner.setup()
        if isinstance(self.place, FilePath):
            await web.UnixSite(self._runner, str(self.place)).start()
        else:
            await web.TCPSite(self._runner, "127.0.0.1", self.place, ssl_context=self.tls).start()
            self.place = self._runner.addresses[0][1]

    async def go_dark(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


@asynccontextmanager
async def fake_docker(
    folder: FilePath, *, tcp: bool = False, tls: ssl.SSLContext | None = None, podman: bool = False
) -> AsyncIterator[Served]:
    served = Served(FakeDocker(podman=podman), 0 if tcp or tls else folder / "docker.sock", tls)
    await served.come_back()
    try:
        yield served
    finally:
        await served.go_dark()
    assert not served.fake.unexpected, served.fake.unexpected
