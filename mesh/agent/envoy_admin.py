"""The few questions asked of Envoy's admin interface, over its Unix socket, with nothing but the standard library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
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
            return await _answer(reader, f"{method} {target}")
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader, request: str) -> bytes:
    """An answer that breaks off is an EOFError, one that is no HTTP a ValueError."""
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1"):
        raise ValueError(f"{first!r} is no HTTP answer")
    fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in rest)}
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    elif "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    else:
        body = await reader.read()
    if (code := int(status.split(" ")[0])) != 200:
        raise Refused(code, request)
    return body


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while length := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield await reader.readexactly(length)
        await reader.readexactly(2)


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
