"""One WebSocket to a control plane: opening it, hearing it, and saying in words why it ended."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import WSMsgType
from yarl import URL

from discovery.backoff import Backoff
from discovery.remote.frames import MOST_BYTES, FromAgent, FromControl, encode, from_control
from discovery.remote.reading import BadFrame
from discovery.source import SourceError

_REFUSING = {
    401: "refuses our token",
    403: "doesn't let us in",
    404: "has no stream for agents there; is it a control plane?",
}


class Ended(Exception):
    """The stream, or the attempt to open one; the text says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `connect`: to connect, and to be welcomed. `settled`: a stream that lived so long was a good one."""

    connect: float = 5.0
    heartbeat: float = 10.0
    grace: float = 1.0
    status: float = 1.0
    settled: float = 10.0
    close: float = 0.3
    backoff: Backoff = field(default_factory=lambda: Backoff(first=0.5, most=10.0))


@dataclass(frozen=True, slots=True)
class Dialling:
    """How a control plane is reached. `token` and `tls` are asked at each attempt, for what they read may be renewed,
    or not be there yet. They may raise OSError or SourceError.

    `token` and `tls` are asked for at each attempt, and may raise OSError or SourceError. `server_hostname`: the name
    in its certificate, where that is not the host of the URL.
    """

    session: aiohttp.ClientSession
    token: Callable[[], str | None] = lambda: None
    tls: Callable[[], ssl.SSLContext | bool] = lambda: True
    server_hostname: str | None = None

    @asynccontextmanager
    async def open(self, url: URL, pace: Pace, heard: Callable[[], None]) -> AsyncIterator[Socket]:
        """Raises Ended, and what aiohttp raises for a host that can't be reached."""
        async with await self._connect(url, pace) as stream:
            yield Socket(stream, heard)

    async def _connect(self, url: URL, pace: Pace) -> aiohttp.ClientWebSocketResponse:
        try:
            token, tls = self.token(), self.tls()
        except (OSError, SourceError) as error:
            raise Ended(f"the token or the certificate can't be had: {error}") from error
        try:
            async with asyncio.timeout(pace.connect):
                return await self.session.ws_connect(
                    url,
                    headers={} if token is None else {"authorization": f"Bearer {token}"},
                    ssl=tls,
                    server_hostname=self.server_hostname,
                    heartbeat=pace.heartbeat,
                    autoping=False,
                    max_msg_size=MOST_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=pace.close),
                )
        except aiohttp.WSServerHandshakeError as error:
            # Not `from error`: it holds the request's headers.
            raise Ended(f"it {_REFUSING.get(error.status, f'answers {error.status} {error.message}')}") from None
        except TimeoutError:
            raise Ended(f"no connection within {pace.connect:g} s") from None


class Socket:
    """`heard` is called at every sign of life."""

    def __init__(self, stream: aiohttp.ClientWebSocketResponse, heard: Callable[[], None]) -> None:
        self._stream = stream
        self._heard = heard

    async def say(self, frame: FromAgent) -> None:
        await self._stream.send_str(encode(frame))

    async def hear(self) -> FromControl | None:
        """The next frame; None: of a type that is not known here. Raises Ended."""
        while True:
            message = await self._stream.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG):
                raise Ended(self._why_closed(message))
            self._heard()
            if message.type is WSMsgType.TEXT:
                return _read(str(message.data))
            if message.type is WSMsgType.PING:
                await self._stream.pong(message.data)

    def _why_closed(self, message: aiohttp.WSMessage) -> str:
        error = self._stream.exception()
        if error is not None:
            return said(error)
        if message.type is WSMsgType.CLOSE and message.extra:
            return f"it closed the stream: {message.extra}"
        return f"the stream was closed ({self._stream.close_code})"


def _read(text: str) -> FromControl | None:
    try:
        return from_control(text)
    except BadFrame as error:
        raise unreadable(error) from error


def unreadable(error: BadFrame) -> Ended:
    return Ended(f"it sends what can't be read: {error}")


def said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def shown(url: URL) -> str:
    """Without a password that may stand in it."""
    return str(url.with_user(None))
