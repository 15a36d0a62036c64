"""The few questions asked of Envoy's admin interface, over its Unix socket, with nothing but the standard library."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

TIMEOUT_SECONDS = 5.0


class Refused(OSError):
    """Envoy answered, with another status than 200."""

    def __init__(self, status: int, request: str) -> None:
        super().__init__(f"Envoy's admin interface answered {status} to {request}")
        self.status = status


async def _ask(socket: Path, method: str, target: str) -> bytes:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        reader, writer = await asyncio.open_unix_connection(str(socket), limit=1 << 20)
        try:
            head = f"{method} {target} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read()
        finally:
            writer.close()
    head_bytes, _, body = answer.partition(b"\r\n\r\n")
    status = int(head_bytes.split(b" ", 2)[1])
    if status != 200:
        raise Refused(status, f"{method} {target}")
    return _dechunk(body) if b"transfer-encoding: chunked" in head_bytes.lower() else body


def _dechunk(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)


async def get(socket: Path, target: str) -> bytes:
    """Raises OSError, TimeoutError, ValueError."""
    return await _ask(socket, "GET", target)


async def post(socket: Path, target: str) -> bytes:
    return await _ask(socket, "POST", target)


async def downstream_connections(socket: Path) -> int:
    """Open connections of callers, all routers together."""
    text = (await get(socket, "/stats?usedonly&filter=^listener\\..*downstream_cx_active$")).decode()
    rows = (line.rpartition(": ") for line in text.splitlines())
    return sum(int(value) for name, _, value in rows if ".admin." not in name and ".worker_" not in name)


async def info(socket: Path) -> dict[str, object]:
    """Version, state, uptime and restart epoch, as `status` shows them."""
    answer = json.loads(await get(socket, "/server_info"))
    options = answer["command_line_options"]
    return {
        "version": answer["version"].split("/")[1],
        "state": answer["state"],
        "uptime": answer["uptime_current_epoch"],
        "epoch": options.get("restart_epoch", 0),
    }
