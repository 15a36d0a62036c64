"""TCP and TLS services that say who they are, and callers of them."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 1 << 16


@dataclass(slots=True)
class Echo:
    """Says its name first, then whatever it is sent; after the caller's end, `bye`. `open`: connections it has now."""

    name: str
    port: int = 0
    taken: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        self.open.add(writer)
        try:
            writer.write(f"{self.name}\n".encode())
            while block := await reader.read(BLOCK):
                writer.write(block)
                await writer.drain()
            writer.write(b"bye\n")
            await writer.drain()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()


@asynccontextmanager
async def echo(name: str, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Echo]:
    it = Echo(name)
    server = await asyncio.start_server(it.serve, "127.0.0.1", port, ssl=tls)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        # Also those of connections that were taken just now, and whose handlers have not begun.
        while it.open:
            for writer in list(it.open):
                writer.transport.abort()
            await asyncio.sleep(0)


@dataclass(slots=True)
class Caller:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    greeting: str

    async def say(self, text: str) -> str:
        self.writer.write(text.encode())
        return (await self.reader.readexactly(len(text.encode()))).decode()

    def close(self) -> None:
        self.writer.transport.abort()


async def call(port: int, tls: ssl.SSLContext | None = None, server_name: str | None = None) -> Caller | None:
    """None: the connection was closed before the service had said who it is."""
    async with asyncio.timeout(15):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=server_name)
        except (ConnectionError, ssl.SSLError):
            return None
        try:
            greeting = await reader.readline()
        except (ConnectionError, ssl.SSLError):
            greeting = b""
        if not greeting:
            writer.transport.abort()
            return None
        return Caller(reader, writer, greeting.decode().strip())


def certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """Self-signed: the certificate, which is its own authority, and its key."""
    certificate, key = folder / f"{names[0]}.pem", folder / f"{names[0]}.key"
    said = ",".join(f"DNS:{name}" for name in names)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={said}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def server_side(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def caller_side(*trusted: Path) -> ssl.SSLContext:
    """Checks certificate and name: that no one has ended the TLS on the way."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for each in trusted:
        context.load_verify_locations(each)
    return context
