"""The registry that `tieline-toy` asks, with its faults. Other questions than its protocol's fail the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Key = tuple[str, int]


@dataclass(slots=True)
class ToyRegistry:
    port: int = 0
    lines: dict[str, str] = field(default_factory=dict)
    is_stalled: bool = False
    is_closed_to_us: bool = False
    unexpected: list[str] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _serving: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, name: str, *endpoints: Key) -> None:
        self.say(name, " ".join(["HERE", *(f"{address}:{port}" for address, port in endpoints)]) + "\n")

    def remove(self, name: str) -> None:
        self.say(name, "NONE\n")

    def say(self, name: str, line: str) -> None:
        self.lose(name, line)
        self._changed.set()
        self._changed = asyncio.Event()

    def lose(self, name: str, line: str) -> None:
        """Nobody who watches is told."""
        self.lines[name] = line

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._serving.values():
                writer.close()
            if self._serving:
                await asyncio.wait(self._serving)
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._serving[serving] = writer
        try:
            question = (await reader.readline()).decode().split()
            async with asyncio.TaskGroup() as group:
                answering = group.create_task(self._answer(question, writer))
                await reader.read()  # until the client is gone
                answering.cancel()
        finally:
            del self._serving[serving]
            writer.close()

    async def _answer(self, question: list[str], writer: asyncio.StreamWriter) -> None:
        match question:
            case _ if self.is_stalled:
                return
            case _ if self.is_closed_to_us:
                writer.write(b"DENIED\n")
            case ["WATCH", name]:
                await self._watched(name, writer)
            case ["NAMES"]:
                there = [name for name, line in self.lines.items() if line != "NONE\n"]
                writer.write(f"NAMES {' '.join(there)}\n".encode())
            case _:
                self.unexpected.append(" ".join(question))
                writer.close()

    async def _watched(self, name: str, writer: asyncio.StreamWriter) -> None:
        said = None
        while not writer.is_closing():
            changed, line = self._changed, self.lines.get(name, "NONE\n")
            if line != said:
                said = line
                writer.write(line.encode())
            if not line.endswith("\n"):
                writer.close()
                return
            await changed.wait()


@asynccontextmanager
async def toy_registry() -> AsyncIterator[ToyRegistry]:
    registry = ToyRegistry()
    await registry.start()
    try:
        yield registry
    finally:
        await registry.stop()
    assert not registry.unexpected, registry.unexpected
