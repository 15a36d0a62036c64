"""A Unix socket that answers every connection with the bytes of the test's choice, and closes it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Answering:
    socket: Path
    answer: bytes = b""
    asked: list[bytes] = field(default_factory=list)

    def say(self, body: bytes, status: int = 200) -> None:
        self.answer = b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)

    def say_in_chunks(self, *chunks: bytes) -> None:
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
        self.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


@asynccontextmanager
async def answering() -> AsyncIterator[Answering]:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        it.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(it.answer)
        await writer.drain()
        writer.close()

    with tempfile.TemporaryDirectory(prefix="tieline-") as folder:
        it = Answering(Path(folder) / "admin.sock")
        server = await asyncio.start_unix_server(converse, it.socket)
        try:
            yield it
        finally:
            server.close()
