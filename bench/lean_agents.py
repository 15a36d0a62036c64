"""A thousand agents in one process: real frames on real WebSockets, and no more work than they need. For bench.fanout.

An agent says hello, wants its names with the versions it has, answers pings, pings when it has heard nothing for 10
seconds, and keeps the version of each name, of the table and of the sources. It parses no endpoints and binds nothing:
what is measured is the control plane.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import struct
import time
from collections.abc import Callable, Sequence
from typing import cast

from discovery.backoff import Backoff

HEARTBEAT_SECONDS = 10.0
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_HANDSHAKE = (
    b"GET /v1/agent HTTP/1.1\r\nHost: control\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_OBSERVATION, _SAME, _TABLE, _SOURCES = (
    b'{"type":"%s"' % kind for kind in (b"observation", b"same", b"table", b"sources")
)


def raise_limit() -> None:
    """Of open files, to what this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Awaited:
    """A text that all agents are to be sent, and when each was; `began` on the clock of `time.perf_counter`."""

    def __init__(self, text: bytes, agents: int) -> None:
        self.text = text
        self.began = time.perf_counter()
        self.times: list[float] = []
        self._agents = agents
        self._seen: set[Agent] = set()
        self.all = asyncio.Event()

    def heard(self, agent: Agent) -> None:
        if agent not in self._seen:
            self._seen.add(agent)
            self.times.append(time.perf_counter() - self.began)
            if len(self._seen) == self._agents:
                self.all.set()


class Fleet:
    def __init__(self, port: int, count: int, names: Callable[[int], Sequence[str]]) -> None:
        self.port = port
        self.agents = [Agent(self, f"host-{number}", names(number)) for number in range(count)]
        self.awaited: Awaited | None = None
        self.frames = 0
        """That told of a name, a table or the sources."""
        self.complete = 0
        self.changed = asyncio.Event()
        self.reconnects: Backoff | None = None
        """Agents that are cut off come again by themselves, each after a part of this."""
        self.rng = random.Random(1)

    async def connect(self) -> None:
        """All at once; returns when every one has all it wants."""
        async with asyncio.TaskGroup() as tasks:
            for agent in self.agents:
                tasks.create_task(agent.connect())
        await self.until_complete()

    async def until_complete(self) -> None:
        while self.complete < len(self.agents):
            self.changed.clear()
            await self.changed.wait()

    def await_all(self, text: bytes) -> Awaited:
        self.awaited = Awaited(text, len(self.agents))
        return self.awaited

    def cut(self) -> None:
        for agent in self.agents:
            agent.abort()


class Agent(asyncio.Protocol):
    def __init__(self, fleet: Fleet, name: str, names: Sequence[str]) -> None:
        self._fleet = fleet
        self._name = name
        self.versions: dict[bytes, bytes | None] = {each.encode(): None for each in names}
        self.table: bytes | None = None
        self.sources: bytes | None = None
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._open = False
        self._missing: set[bytes] = set()
        self._complete = False
        self._heard = 0.0
        self._failures = 0

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: self, "127.0.0.1", self._fleet.port)
            except OSError:
                await asyncio.sleep(self._pause())
            else:
                return

    def _pause(self) -> float:
        backoff = self._fleet.reconnects or Backoff()
        self._failures += 1
        return self._fleet.rng.random() * backoff.ceiling(self._failures - 1)

    def forget(self) -> None:
        """As after a start without a disk."""
        self.versions = dict.fromkeys(self.versions)
        self.table = self.sources = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._rest, self._open = b"", False
        self._transport.write(_HANDSHAKE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._complete:
            self._complete = False
            self._fleet.complete -= 1
        if self._fleet.reconnects is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._pause(), self._come_again, loop)

    def _come_again(self, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self.connect())
        self._connecting = task  # Held: the loop keeps weak references only.

    def data_received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        self._rest += data
        if not self._open:
            head, end, rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise RuntimeError(head.decode())
            self._rest, self._open = rest, True
            self._greet()
        self._read()

    def _read(self) -> None:
        """RFC 6455 §5.2; a server masks nothing."""
        rest, at = self._rest, 0
        while len(rest) - at >= 2:
            length, start = rest[at + 1] & 127, at + 2
            if length == 126:
                start += 2
                length = int.from_bytes(rest[at + 2 : start])
            elif length == 127:
                start += 8
                length = int.from_bytes(rest[at + 2 : start])
            if len(rest) < start + length:
                break
            self._take(rest[at] & 15, rest[start : start + length])
            at = start + length
        self._rest = rest[at:]

    # Frames

    def _greet(self) -> None:
        known = self.table and int(self.table), self.sources and self.sources.decode()
        hello = {"type": "hello", "protocol": 1, "agent": self._name, "table": known[0], "sources": known[1]}
        names = {name.decode(): version and version.decode() for name, version in self.versions.items()}
        self._missing = set(self.versions)
        self._send(_TEXT, json.dumps(hello).encode())
        if names:
            self._send(_TEXT, json.dumps({"type": "want", "names": names}).encode())
        asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, self._beat, self._transport)

    def _beat(self, transport: asyncio.Transport | None) -> None:
        if transport is not None and transport is self._transport:
            idle = time.monotonic() - self._heard
            if idle >= HEARTBEAT_SECONDS - 0.1:
                self._send(_PING, b"")
                idle = 0.0
            asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS - idle, self._beat, transport)

    def _send(self, opcode: int, payload: bytes) -> None:
        """A mask of zeros is one: it changes nothing."""
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 128 | opcode, 128 | length)
        elif length < 65_536:
            head = struct.pack("!BBH", 128 | opcode, 128 | 126, length)
        else:
            head = struct.pack("!BBQ", 128 | opcode, 128 | 127, length)
        if self._transport is not None:
            self._transport.write(head + bytes(4) + payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            self.abort()
        elif opcode == _TEXT:
            self._tell(payload)

    def _tell(self, payload: bytes) -> None:
        if payload.startswith(_OBSERVATION):
            name = _between(payload, b'"name":"')
            self.versions[name] = _between(payload, b'"version":"')
            self._missing.discard(name)
        elif payload.startswith(_SAME):
            self._missing.difference_update(name.encode() for name in json.loads(payload)["names"])
        elif payload.startswith(_TABLE):
            self.table = payload.partition(b'"version":')[2].partition(b",")[0]
        elif payload.startswith(_SOURCES):
            self.sources = _between(payload, b'"hash":"')
        else:
            return
        self._fleet.frames += 1
        awaited = self._fleet.awaited
        if awaited is not None and awaited.text in payload:
            awaited.heard(self)
        if not self._complete and not self._missing and self.table is not None and self.sources is not None:
            self._complete, self._failures = True, 0
            self._fleet.complete += 1
            self._fleet.changed.set()


def _between(payload: bytes, before: bytes) -> bytes:
    return payload.partition(before)[2].partition(b'"')[0]
