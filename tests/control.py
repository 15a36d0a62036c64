"""A control plane under test: in this process, on real sockets, over a real SQLite store and a real files source."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from mesh.agent.entries import opened
from mesh.control.grants import digest
from mesh.control.load import load
from mesh.control.service import Control
from scripts.running import eventually, folder

TOKENS = {
    "reader": {"role": "read"},
    "writer": {"role": "write"},
    "host7": {"role": "agent"},
    "host8": {"role": "agent", "namespaces": ["other"]},
}
"""By name; the token of each is its name with this behind it."""
SECRET = "-secret-of-the-test"
PATIENCE = 10.0
Stream = aiohttp.ClientWebSocketResponse


def token(name: str) -> str:
    return name + SECRET


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        text: str = self.json["error"]
        return text


@dataclass(frozen=True, slots=True)
class Served:
    control: Control
    folder: Path
    session: aiohttp.ClientSession
    socket: aiohttp.ClientSession
    """Over the Unix socket."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, method: str, path: str, *, by: str | None = "writer", **more: Any) -> Said:
        """`by`: whose token is sent; None: none, "socket": over the Unix socket."""
        session = self.socket if by == "socket" else self.session
        headers = dict(more.pop("headers", {}))
        if by not in (None, "socket"):
            headers.setdefault("Authorization", f"Bearer {token(by)}")
        async with session.request(method, path, headers=headers, **more) as response:
            said = {name.lower(): value for name, value in response.headers.items()}
            return Said(response.status, said, await response.read())

    async def get(self, path: str, **more: Any) -> Said:
        return await self.ask("GET", path, **more)

    async def put(self, dtab: str, namespace: str = "default", **more: Any) -> Said:
        """With `yes`, so that what is in use does not matter."""
        said = await self.ask("PUT", f"/v1/namespaces/{namespace}", json={"dtab": dtab, "yes": True}, **more)
        assert said.status == 200, said.body
        return said

    def name(self, name: str, *ports: int) -> None:
        """What the files source knows."""
        fresh = self.folder / "disco" / f".{name}"
        fresh.write_text("".join(f"127.0.0.1 {port}\n" for port in ports))
        fresh.rename(self.folder / "disco" / name)

    @asynccontextmanager
    async def lines(self, path: str, by: str | None = "reader", **headers: str) -> AsyncIterator[aiohttp.StreamReader]:
        """A stream of the API."""
        headers.setdefault("Authorization", f"Bearer {token(by or '')}")
        async with self.session.get(path, headers=headers) as response:
            assert response.status == 200, await response.text()
            yield response.content

    @asynccontextmanager
    async def agent(self, name: str = "host7", namespace: str = "default") -> AsyncIterator[Stream]:
        """The stream of an agent that has said hello and was welcomed."""
        headers = {"Authorization": f"Bearer {token('host7')}"}
        async with self.session.ws_connect("/v1/agent", headers=headers) as stream:
            hello = {"type": "hello", "protocol": 1, "agent": name, "version": "0.1.0", "namespace": namespace}
            await stream.send_json({**hello, "table": None, "sources": None})
            assert (await stream.receive_json())["type"] == "welcome"
            yield stream

    async def in_use(self, stream: Stream, *paths: str, rate: float = 10.0) -> None:
        """The agent reports these names, and the control plane has understood."""
        counted = {"router": "http", "requests": 1, "failures": 0, "rate": rate, "bound": ""}
        rows = [{**counted, "name": path} for path in paths]
        await stream.send_json({"type": "status", "ready": True, "names": rows, "local": {}})

        async def heard() -> bool:
            names = (await self.get("/v1/namespaces/default/names")).json["names"]
            return {each["name"] for each in names} >= set(paths)

        await eventually(heard, PATIENCE, "the report was not heard")


def tokens(**entries: dict[str, Any]) -> str:
    rows = [{"name": name, **entry, "sha256": digest(token(name))} for name, entry in (entries or TOKENS).items()]
    return yaml.safe_dump({"tokens": rows})


def configured(place: Path, **settings: Any) -> Path:
    (place / "disco").mkdir(exist_ok=True)
    (place / "tokens.yaml").write_text(tokens())
    defaults: dict[str, Any] = {
        "run_dir": "run",
        "state_dir": "state",
        "tokens_file": "tokens.yaml",
        "listen": {"port": 0},
        "sources": [{"kind": "files", "folder": "disco", "confirm_after": 0, "last_resort": 0}],
    }
    file = place / "control.yaml"
    file.write_text(yaml.safe_dump({**defaults, **settings}))
    return file


@asynccontextmanager
async def control(*, ready: bool = True, at: Path | None = None, **settings: Any) -> AsyncIterator[Served]:
    """`at`: an earlier one's folder."""
    async with AsyncExitStack() as stack:
        place = at or stack.enter_context(folder())
        config = load(configured(place, **settings))
        config.run_dir.mkdir(exist_ok=True)
        config.state_dir.mkdir(exist_ok=True)
        store = await stack.enter_async_context(config.kept_in.open())
        entries = [await opened(stack, each, config.naming.bind_timeout) for each in config.sources]
        replicas = await stack.enter_async_context(aiohttp.ClientSession())
        made = Control(config, store, entries, replicas)
        stop = asyncio.Event()
        await stack.enter_async_context(made.observatory)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(made.serve(stop))
        stack.callback(stop.set)
        port = await made.listens
        session = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        connector = aiohttp.UnixConnector(str(config.socket))
        socket = await stack.enter_async_context(aiohttp.ClientSession("http://control", connector=connector))
        if ready:
            await made.in_force.wait()
        yield Served(made, place, session, socket, stop)
