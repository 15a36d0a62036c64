"""The API server as far as we ask it: pages of lists, and watches. What went wrong is told by `SourceError`s."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from discovery.kubernetes import events
from discovery.kubernetes.access import Access
from discovery.source import Misconfigured, SourceError, Unavailable

_EXCERPT = 300
_PROBES = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""A watch may be silent for minutes. That its other end is not there any more is noticed in 30 seconds."""

Query = Mapping[str, str]


class TooOld(Exception):
    """410: the version, or the page, is not kept any more. The list has to be read from its beginning."""


@dataclass(frozen=True, slots=True)
class Api:
    access: Access
    session: aiohttp.ClientSession
    timeout: float
    """For an answer to begin, and then between any two bytes of it."""

    async def read(self, path: str, query: Query) -> bytes:
        """Raises TooOld."""
        async with self._answer(path, query, self.timeout) as response:
            return await self._body(response, path)

    @asynccontextmanager
    async def watch(self, path: str, query: Query, silence: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """A stream that has begun. No byte for `silence` seconds is a TimeoutError. Raises TooOld."""
        async with self._answer(path, query, silence) as response:
            try:
                yield response
            finally:
                response.close()

    @asynccontextmanager
    async def _answer(self, path: str, query: Query, seconds: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """200. Refused with 401, it is asked once more if we can say better who we are."""
        header = await self.access.credential.header()
        response = await self._ask(path, query, header, seconds)
        if response.status == 401 and await self._renewed(response, header):
            header = await self.access.credential.header()
            response = await self._ask(path, query, header, seconds)
        try:
            if response.status != 200:
                await self._refuse(response, path, header)
            yield response
        finally:
            response.release()

    async def _renewed(self, response: aiohttp.ClientResponse, header: str) -> bool:
        try:
            is_new = await self.access.credential.renew(header)
        except BaseException:
            response.close()
            raise
        if is_new:
            response.close()
        return is_new

    async def _ask(self, path: str, query: Query, header: str, seconds: float) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self.timeout):
                return await self.session.get(
                    URL(self.access.url + path, encoded=True).with_query(query),
                    headers={"Authorization": header} if header else None,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeout, sock_read=seconds),
                    allow_redirects=False,
                    server_hostname=self.access.server_name,
                    proxy=self.access.proxy,
                )
        except TimeoutError as error:
            raise Unavailable(f"{self.shown} has not answered {path} within {self.timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self.shown} cannot be asked for {path}: {error}") from error

    async def _body(self, response: aiohttp.ClientResponse, path: str) -> bytes:
        try:
            return await response.read()
        except TimeoutError as error:
            raise Unavailable(f"{self.shown} stopped in the middle of its answer to {path}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self.shown} broke off its answer to {path}") from error

    async def _refuse(self, response: aiohttp.ClientResponse, path: str, header: str) -> None:
        body = await self._body(response, path)
        if response.status == 410:
            raise TooOld
        said = events.failure(body)
        text = said.message if said is not None else " ".join(body.decode(errors="replace").split())
        for secret in filter(None, (header, header.rpartition(" ")[2])):
            text = text.replace(secret, "***")
        raise _refusal(f"{self.shown} answers {response.status} to {path}: {text[:_EXCERPT]}", response.status, path)

    @property
    def shown(self) -> str:
        return f"Kubernetes at {self.access.url}"


def _refusal(text: str, status: int, path: str) -> SourceError:
    if status == 401:
        return Misconfigured(f"{text} (it does not know who we are: check the token, or the kubeconfig's user)")
    if status == 403:
        return Misconfigured(
            f"{text} (allow get, list and watch of endpointslices in the group discovery.k8s.io and of services)"
        )
    if status == 404:
        return Misconfigured(f"{text} (EndpointSlices need Kubernetes 1.21 or newer: is that its API server?)")
    if status in (408, 429) or status >= 500:
        return Unavailable(text)
    return Misconfigured(text)


def session(access: Access) -> aiohttp.ClientSession:
    # To compress an answer costs both sides more than to carry it.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "tieline"}
    connector = aiohttp.TCPConnector(limit=0, ssl=access.ssl, socket_factory=_probed)
    return aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar())


def _probed(info: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
