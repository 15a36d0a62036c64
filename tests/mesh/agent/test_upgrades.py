"""Connections that become something else than HTTP, through a real Envoy: bytes go both ways until one side ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from scripts.ports import free_port
from tests.host import host


async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    protocol = next(line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("upgrade: "))
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n".encode())
    while block := await reader.read(1000):
        writer.write(block.upper())


@asynccontextmanager
async def shouting() -> AsyncIterator[int]:
    ended: list[asyncio.Future[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(done := asyncio.get_running_loop().create_future())
        try:
            await switch(reader, writer)
        finally:
            writer.close()
            done.set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for each in ended:
            await each


@pytest.mark.parametrize("protocol", ["websocket", "SPDY/3.1"])
async def test_an_upgrade_that_the_router_names_passes(protocol: str) -> None:
    routers = [{"name": "http", "port": (port := free_port()), "upgrades": ["websocket", "SPDY/3.1"]}]
    async with shouting() as behind, host(routers=routers) as started:
        started.put("shell", behind)
        for _ in ("first", "again"):
            status, reader, writer = await asked(port, protocol)
            assert status == 101
            for text in (b"hello", b"again"):
                writer.write(text)
                assert await reader.readexactly(5) == text.upper()
            writer.close()
            assert await reader.read() == b""
        await started.no_nacks()


async def test_any_other_is_refused() -> None:
    async with shouting() as behind, host() as started:
        started.put("shell", behind)
        for _ in ("first", "again"):
            status, _, writer = await asked(started.agent.port, "SPDY/3.1")
            assert status == 403
            writer.close()
            assert (await asked_once(started.agent.port, "websocket")) == 101


async def asked_once(port: int, protocol: str) -> int:
    status, _, writer = await asked(port, protocol)
    writer.close()
    return status


async def asked(port: int, protocol: str) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET / HTTP/1.1\r\nhost: shell\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1]), reader, writer
