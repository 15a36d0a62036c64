"""The agents' stream, on the control plane: `GET /v1/agent`, a WebSocket (RFC 6455) of `discovery.remote.frames`.

    hello ──▶ welcome ──▶ what the hub has for it, whenever that changes          (refused ──▶ closed)

An agent that reads slowly is sent less, not later: what is due is kept as names, and made into frames as they are sent.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from discovery.remote.frames import (
    PROTOCOL,
    FromAgent,
    Hello,
    Refused,
    Release,
    Status,
    Want,
    Welcome,
    encode,
    from_agent,
)
from discovery.remote.reading import BadFrame
from mesh.control.hub import Due, Hub, TooManyNames
from mesh.control.store.protocol import NAMESPACE

logger = logging.getLogger("tieline.stream")

REPLACED = 4000
"""The close code (of those for private use) of a stream whose agent has opened another one."""
_AT_ONCE = 64
"""Frames before others have their turn."""
_CLOSE_SECONDS = 1.0
_REASON_BYTES = 120
"""A close frame takes 123 bytes (RFC 6455 §5.5)."""


class Reports(Protocol):
    """Who keeps what agents say of themselves. Nothing here may fail or block."""

    def joined(self, agent: str, hello: Hello, address: str) -> None:
        """Said again when it opens another stream, without `left` between."""
        ...

    def reported(self, agent: str, report: Mapping[str, object]) -> None: ...

    def left(self, agent: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes. The heartbeat is longer than an agent's: who is heard from need not be asked."""

    agents: int = 10_000
    frame_bytes: int = 4 * 1024 * 1024
    hello: float = 5.0
    heartbeat: float = 12.0
    drain: float = 30.0


class _Unfit(Exception):
    """The stream can't go on; the agent is told why."""


@dataclass(slots=True, eq=False)
class _Stream:
    hello: Hello
    address: str
    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    wake: asyncio.Event
    due: Due = field(init=False)

    def abandon(self) -> None:
        """What an agent doesn't read must not be kept for it until the kernel gives it up."""
        if self.transport is not None:
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self.transport.abort)

    def fields(self, **more: object) -> dict[str, object]:
        return {"fields": {"agent": self.hello.agent, "address": self.address, **more}}


class Streams:
    """`admits` says why an agent may not come in, given its request and its hello; None: it may."""

    def __init__(
        self,
        hub: Hub,
        reports: Reports,
        *,
        version: str,
        replica: str,
        admits: Callable[[web.Request, Hello], str | None],
        limits: Limits | None = None,
    ) -> None:
        self._hub = hub
        self._reports = reports
        self._welcome = encode(Welcome(version, replica))
        self._admits = admits
        self._limits = limits or Limits()
        self._streams: dict[str, _Stream] = {}
        self._ending = False
        self.sent = 0
        """Frames, to all agents together."""

    def __len__(self) -> int:
        return len(self._streams)

    async def agents(self, request: web.Request) -> web.WebSocketResponse:
        limits = self._limits
        socket = web.WebSocketResponse(
            heartbeat=limits.heartbeat, max_msg_size=limits.frame_bytes, timeout=_CLOSE_SECONDS, compress=False
        )
        await socket.prepare(request)
        hello = await self._greeted(socket)
        if hello is None:
            return socket
        reason = self._refusal(request, hello)
        if reason is None:
            await self._serve(_Stream(hello, request.remote or "", socket, request.transport, asyncio.Event()))
        else:
            fields = {"agent": hello.agent, "address": request.remote, "reason": reason}
            logger.warning("an agent is refused", extra={"fields": fields})
            await socket.send_str(encode(Refused(reason)))
            await _close(socket, WSCloseCode.POLICY_VIOLATION, reason)
        return socket

    async def close(self) -> None:
        """Agents go to another replica; those that come are refused."""
        self._ending = True
        async with asyncio.TaskGroup() as tasks:
            for stream in self._streams.values():
                tasks.create_task(_close(stream.socket, WSCloseCode.GOING_AWAY, "the replica is going away"))

    # The beginning

    async def _greeted(self, socket: web.WebSocketResponse) -> Hello | None:
        try:
            async with asyncio.timeout(self._limits.hello):
                message = await socket.receive()
            frame = from_agent(message.data) if message.type is WSMsgType.TEXT else None
        except TimeoutError:
            await _close(socket, WSCloseCode.POLICY_VIOLATION, f"no hello within {self._limits.hello:g} s")
            return None
        except BadFrame as error:
            await _close(socket, WSCloseCode.POLICY_VIOLATION, str(error))
            return None
        if isinstance(frame, Hello):
            return frame
        await _close(socket, WSCloseCode.POLICY_VIOLATION, "hello comes first")
        return None

    def _refusal(self, request: web.Request, hello: Hello) -> str | None:
        if self._ending:
            return "the replica is going away"
        if hello.protocol != PROTOCOL:
            return f"protocol {hello.protocol} is not spoken here, {PROTOCOL} is; run versions next to each other"
        if not re.fullmatch(NAMESPACE, hello.namespace):
            return f"{hello.namespace!r} can't be the name of a namespace"
        if len(self._streams) >= self._limits.agents and hello.agent not in self._streams:
            return f"{self._limits.agents} agents are connected to this replica, which is its limit"
        return self._admits(request, hello)

    # One stream

    async def _serve(self, stream: _Stream) -> None:
        agent = stream.hello.agent
        before = self._streams.get(agent)
        stream.due = self._hub.join(stream.hello, stream.wake.set)
        self._streams[agent] = stream
        self._reports.joined(agent, stream.hello, stream.address)
        logger.info("an agent is connected", extra=stream.fields(version=stream.hello.version))
        try:
            await self._talk(stream, before)
        except* _Unfit as unfit:
            logger.warning("an agent's stream is closed", extra=stream.fields(reason=str(unfit.exceptions[0])))
        except* ConnectionError:
            pass  # It is gone, which is told below.
        except* Exception as failed:
            # The bulkhead: one stream's trouble ends that stream. Its agent keeps what it has and connects again.
            logger.exception("an agent's stream failed", extra=stream.fields(), exc_info=failed)
        finally:
            self._hub.leave(stream.due)
            if self._streams.get(agent) is stream:
                del self._streams[agent]
                self._reports.left(agent)
            stream.abandon()
            logger.info("an agent is gone", extra=stream.fields())

    async def _talk(self, stream: _Stream, before: _Stream | None) -> None:
        async with asyncio.TaskGroup() as tasks:
            if before is not None:
                tasks.create_task(self._replace(before, stream))
            await stream.socket.send_str(self._welcome)
            writing = tasks.create_task(self._write(stream))
            await self._read(stream)
            writing.cancel()

    async def _replace(self, before: _Stream, by: _Stream) -> None:
        """Two agents of one name would replace each other for ever: the log shows where both are."""
        logger.info("an agent has opened another stream", extra=before.fields(other=by.address))
        self._hub.leave(before.due)
        await _close(before.socket, REPLACED, f"another stream of {before.hello.agent} came, from {by.address}")

    async def _read(self, stream: _Stream) -> None:
        async for message in stream.socket:
            if message.type is WSMsgType.ERROR:
                return
            try:
                self._take(stream, from_agent(message.data) if message.type is WSMsgType.TEXT else None)
            except (BadFrame, TooManyNames) as error:
                await _close(stream.socket, WSCloseCode.POLICY_VIOLATION, str(error))
                raise _Unfit(str(error)) from error

    def _take(self, stream: _Stream, frame: FromAgent | None) -> None:
        match frame:
            case Want(names):
                self._hub.want(stream.due, names)
            case Release(names):
                self._hub.release(stream.due, names)
            case Status(report):
                if self._streams.get(stream.hello.agent) is stream:
                    self._reports.reported(stream.hello.agent, report)

    async def _write(self, stream: _Stream) -> None:
        while True:
            stream.wake.clear()
            await self._write_due(stream)
            await stream.wake.wait()

    async def _write_due(self, stream: _Stream) -> None:
        due = stream.due.frames()
        sent = _AT_ONCE
        while sent == _AT_ONCE:
            sent = 0
            try:
                async with asyncio.timeout(self._limits.drain):
                    for frame in itertools.islice(due, _AT_ONCE):
                        await stream.socket.send_frame(frame, WSMsgType.TEXT)
                        sent += 1
                        self.sent += 1
                if sent == _AT_ONCE:
                    await asyncio.sleep(0)
            except TimeoutError:
                if stream.transport is not None:
                    stream.transport.abort()
                raise _Unfit(f"the agent has read nothing for {self._limits.drain:g} s") from None


async def _close(socket: web.WebSocketResponse, code: int, reason: str) -> None:
    shown = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await socket.close(code=code, message=shown.encode())
    except TimeoutError:
        pass  # It doesn't read: aiohttp has closed the transport.
