"""Starts the pieces of a small fleet on loopback, for the demo, the benchmarks and the end-to-end tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp
import yaml

from scripts.ports import free_port

READY_SECONDS = 20.0
ROUNDS_OF_AN_ACCEPT = 4
"""Rounds of the loop from a connection's accept to `connection_made` and, when it is closed there, to its end."""
TIELINE = str(Path(sys.executable).with_name("tieline"))
"""The command as it is installed beside this Python."""


@asynccontextmanager
async def service(answer: str, port: int = 0, *, address: str = "127.0.0.1") -> AsyncIterator[int]:
    """An HTTP/1.1 service that answers every request with one short text; yields its port."""
    body = answer.encode()
    response = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            # uvloop's transports are no subclasses of asyncio's.
            self.transport = cast("asyncio.Transport", transport)
            self.rest = b""
            open_connections.add(transport)
            if ending.is_set():  # Accepted just before.
                transport.close()

        def connection_lost(self, _error: Exception | None) -> None:
            open_connections.discard(self.transport)

        def data_received(self, data: bytes) -> None:
            # Bodies are small or absent here: what counts is the end of each head.
            *heads, self.rest = (self.rest + data).split(b"\r\n\r\n")
            self.transport.write(response * len(heads))

    open_connections: set[asyncio.BaseTransport] = set()
    ending = asyncio.Event()
    server = await asyncio.get_running_loop().create_server(Answering, address, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # A connection that is being accepted would be lost, unclosed, with the server.
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        ending.set()
        for transport in open_connections:
            transport.close()
        for _ in range(ROUNDS_OF_AN_ACCEPT):
            await asyncio.sleep(0)
        server.close()


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent: its supervisor's process, and where to reach it."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    config: Path
    log: Path

    @property
    def admin(self) -> Path:
        return self.folder / "run" / "admin.sock"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def children(self) -> dict[str, int]:
        """The process ids of the supervisor's children: `brain`, and of the newest Envoy `keeper` and `envoy`."""
        found: dict[str, int] = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # It ended just now.
            if b"mesh.agent.brain" in command:
                found["brain"] = int(pid)
                continue
            found["keeper"] = int(pid)
            for envoy in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                found["envoy"] = int(envoy)
        return found

    async def ask(self, target: str) -> tuple[int, str]:
        """A page of the admin API, over its Unix socket."""
        connector = aiohttp.UnixConnector(str(self.admin))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://agent{target}") as response,
        ):
            return response.status, await response.text()

    async def until_ready(self) -> None:
        await eventually(self._is_ready, READY_SECONDS, f"the agent is not ready:\n{self.tail()}")

    async def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the agent ended with {self.process.returncode}:\n{self.tail()}")
        try:
            return (await self.ask("/readyz"))[0] == 200
        except (aiohttp.ClientError, OSError):
            return False

    def tail(self) -> str:
        return self.log.read_text()[-6000:]


async def eventually(condition: Callable[[], object], seconds: float, otherwise: str, every: float = 0.02) -> None:
    """Waits for what has no event. `condition` returns a bool or an awaitable of one."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        met = condition()
        if asyncio.iscoroutine(met):
            met = await met
        if met:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(otherwise)
        await asyncio.sleep(every)


@contextmanager
def agent(folder: Path, settings: dict[str, object]) -> Iterator[Agent]:
    """An agent with its Envoy in `folder`; ended by its process id."""
    port = free_port()
    config = folder / "tieline.yaml"
    routers = [{"name": "http", "port": port}]
    defaults: dict[str, object] = {
        "run_dir": str(folder / "run"),
        "state_dir": str(folder / "state"),
        "admin": {"port": None},
        "routers": routers,
        "envoy": {"drain": "1s"},
    }
    config.write_text(yaml.safe_dump({**defaults, **settings}))
    log = folder / "agent.log"
    with log.open("ab") as out:
        process = subprocess.Popen([TIELINE, "agent", "-c", str(config)], stdout=out, stderr=out)
    try:
        yield Agent(process, folder, port, config, log)
    finally:
        end(process)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running control plane, and where to reach it."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    log: Path

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "control.sock"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while "tieline.control: ready" not in (text := self.log.read_text()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the control plane is not ready, or has ended:\n{text[-6000:]}")
            time.sleep(0.02)


@contextmanager
def control(folder: Path, settings: dict[str, object], port: int | None = None) -> Iterator[ControlPlane]:
    """A control plane in `folder`, ready; ended by its process id. What an earlier one kept there it has."""
    port = port or free_port()
    file, log = folder / "control.yaml", folder / "control.log"
    defaults: dict[str, object] = {
        "run_dir": str(folder / "run"),
        "state_dir": str(folder / "state"),
        "listen": {"port": port},
    }
    file.write_text(yaml.safe_dump({**defaults, **settings}))
    with log.open("wb") as out:
        process = subprocess.Popen([TIELINE, "control", "-c", str(file)], stdout=out, stderr=out)
    try:
        running = ControlPlane(process, folder, port, log)
        running.until_ready()
        yield running
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], patience_seconds: float = 15.0) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder with a path short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="tieline-", dir=os.environ.get("TMPDIR", "/tmp")) as name:  # noqa: S108
        yield Path(name)
