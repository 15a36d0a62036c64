"""A real Envoy for a test: started on a bootstrap in a folder, ended by its own process id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from mesh.envoy.binary import binary


async def eventually(holds: Callable[[], bool], within: float = 20.0) -> None:
    """Looks every 10 ms."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within} s: {holds}"
        await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class EnvoyProcess:
    process: subprocess.Popen[bytes]
    admin_socket: Path
    log: Path

    async def admin(self, target: str, method: str = "GET") -> str:
        """The body of an admin answer; "" while nobody listens."""
        connector = aiohttp.UnixConnector(str(self.admin_socket))
        try:
            async with (
                aiohttp.ClientSession(connector=connector) as client,
                client.request(method, f"http://admin{target}") as answer,
            ):
                return await answer.text()
        except aiohttp.ClientConnectionError:
            return ""

    async def stats(self, pattern: str) -> dict[str, int]:
        found = json.loads(await self.admin(f"/stats?format=json&filter={pattern}"))["stats"]
        return {stat["name"]: stat["value"] for stat in found if "name" in stat}

    async def ready(self, within: float = 20.0) -> None:
        deadline = time.monotonic() + within
        while (await self.admin("/ready")).strip() != "LIVE":
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(
    config: dict[str, Any], folder: Path, *, workers: int = 2, level: str = "warning"
) -> AsyncIterator[EnvoyProcess]:
    """Started, not yet ready: a test may want to see it wait. `config` names its admin socket as `bootstrap` does."""
    written, log = folder / "envoy.json", folder / "envoy.log"
    written.write_text(json.dumps(config))
    command = [binary(), "-c", written, "--concurrency", str(workers), "-l", level, "--disable-hot-restart"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield EnvoyProcess(process, Path(config["admin"]["address"]["pipe"]["path"]), log)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
