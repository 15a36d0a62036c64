"""moto's server: Cloud Map, EC2, IAM, SQS and STS of AWS on loopback, for tests and benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from scripts.ports import free_port
from scripts.running import end, eventually

REGION = "eu-west-1"
_READY_SECONDS = 30.0
_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}


@dataclass(frozen=True, slots=True)
class Moto:
    url: str
    process: subprocess.Popen[bytes]

    async def reset(self) -> None:
        """Forgets everything."""
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/moto-api/reset") as response:
            response.raise_for_status()


@asynccontextmanager
async def moto() -> AsyncIterator[Moto]:
    """A server of its own process on a free port; needs `moto[server]`."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with tempfile.TemporaryFile() as log:
        # moto asks itself by boto3: it must not look for credentials anywhere else.
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **_ENVIRONMENT})  # noqa: ASYNC220 - a moment
        server = Moto(f"http://127.0.0.1:{port}", process)
        try:
            await eventually(lambda: _answers(server), _READY_SECONDS, "moto_server does not answer")
            yield server
        finally:
            end(process)


async def _answers(server: Moto) -> bool:
    if server.process.poll() is not None:
        raise RuntimeError(f"moto_server ended with {server.process.returncode}")
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/moto-api/data.json") as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError):
        return False
