"""The few questions asked of Envoy's admin interface, over its Unix socket, with nothing but the standard library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

TIMEOUT_SECONDS = 5.0


class Refused(OSError):
    """Envoy answered, with another status than 200."""

    def __init__(self, status: int, request: str) -> None:
        super().__init__(f"Envoy's admin interface answered {status} to {request}")
        self.status = status


async def _ask(socket: Path, method: str, target: str, take: Callable[[bytes], None]) -> None:
    """`take` gets the pieces of the answer, as they come."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        reader, writer = await asyncio.open_unix_connection(str(socket), limit=1 << 20)
        try:
            head = f"{method} {target} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            writer.write(head.encode())
            await _answer(reader, f"{method} {target}", take)
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader, request: str, take: Callable[[bytes], None]) -> None:
    """An answer that breaks off is an EOFError, one that is no HTTP a ValueError."""
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1"):
        raise ValueError(f"{first!r} is no HTTP answer")
    fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in rest)}
    if (code := int(status.split(" ")[0])) != 200:
        raise Refused(code, request)
    if fields.get("transfer-encoding", "").lower() == "chunked":
        async for chunk in _chunks(reader):
            take(chunk)
    elif "content-length" in fields:
        take(await reader.readexactly(int(fields["content-length"])))
    else:
        take(await reader.read())


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while length := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield await reader.readexactly(length)
        await reader.readexactly(2)


async def get(socket: Path, target: str) -> bytes:
    """Raises OSError, TimeoutError, ValueError, EOFError."""
    return await _whole(socket, "GET", target)


async def post(socket: Path, target: str) -> bytes:
    return await _whole(socket, "POST", target)


async def _whole(socket: Path, method: str, target: str) -> bytes:
    pieces: list[bytes] = []
    await _ask(socket, method, target, pieces.append)
    return b"".join(pieces)


async def lines(socket: Path, target: str, take: Callable[[str], None]) -> None:
    """For an answer that may be too long to be held whole. Raises as `get` does; `take` may have had a part then."""
    rest = b""

    def split(piece: bytes) -> None:
        nonlocal rest
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            take(line.decode())

    await _ask(socket, "GET", target, split)
    if rest:
        take(rest.decode())


async def downstream_connections(socket: Path) -> int:
    """Open connections of callers, all routers together."""
    text = (await get(socket, "/stats?usedonly&filter=^listener\\..*downstream_cx_active$")).decode()
    rows = (line.rpartition(": ") for line in text.splitlines())
    return sum(int(value) for name, _, value in rows if ".admin." not in name and ".worker_" not in name)


async def listeners(socket: Path) -> list[str]:
    """The names of those that take connections."""
    answer = json.loads(await get(socket, "/listeners?format=json"))
    return [each["name"] for each in answer.get("listener_statuses", [])]


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
