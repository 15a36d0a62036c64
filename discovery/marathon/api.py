"""Marathon's HTTP API as far as we ask it. Bytes and events come out; what went wrong is told by `SourceError`s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
from yarl import URL

from discovery.marathon import events, records
from discovery.marathon.credentials import Credential
from discovery.marathon.masters import Elsewhere, Masters
from discovery.marathon.stream import Stream
from discovery.path import Path
from discovery.source import Misconfigured, SourceError, Unavailable

_EXCERPT = 200
_CONNECT_SECONDS = 3.0
"""A master whose host is down must not keep us from the next one."""
_LEADER = "X-Marathon-Leader"

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """`body`: None where there is no such app. `leader`: who answered in the end; '' if it is not said."""

    body: bytes | None
    leader: str


@dataclass(frozen=True, slots=True)
class Api:
    masters: Masters
    session: aiohttp.ClientSession
    credential: Credential
    timeout: float
    """For an answer to begin, and then between any two bytes of it."""
    idle_timeout: float
    """The same of the stream of events, in which Marathon sends a line end every ten seconds."""
    server_name: str | None = None

    async def all_apps(self) -> Reply:
        return await self.masters.ask(lambda master: self._read(master, "/v2/apps", [("embed", "apps.tasks")]))

    async def app(self, path: Path) -> Reply:
        where = "/v2/apps/" + "/".join(quote(segment, safe="", errors="surrogateescape") for segment in path)
        return await self.masters.ask(lambda master: self._read(master, where, [("embed", "app.tasks")]))

    @asynccontextmanager
    async def events(self) -> AsyncIterator[Stream]:
        """A stream that has begun: whatever happens from now on is in it."""
        stream = await self.masters.ask(self._attached)
        try:
            yield stream
        finally:
            stream.close()

    async def _attached(self, master: str) -> Stream:
        query = [("event_type", kind) for kind in events.WANTED]
        response = await self._answer(master, "/v2/events", query, "text/event-stream", self.idle_timeout)
        try:
            stream = Stream(response, response.headers.get(_LEADER, ""), self.idle_timeout)
            await stream.begin(events.ATTACHED, self.timeout)
        except BaseException:
            response.close()
            raise
        return stream

    async def _read(self, master: str, path: str, query: Query) -> Reply:
        async with await self._answer(master, path, query, "application/json", self.timeout) as response:
            body = await self._body(response, master, path)
            leader = response.headers.get(_LEADER, "")
            if response.status == 200:
                return Reply(body, leader)
        if records.says_absent(body):
            return Reply(None, leader)
        raise Unavailable(f"{master} answers 404 to {path}, but not as Marathon does: is something in between?")

    async def _answer(
        self, master: str, path: str, query: Query, accept: str, seconds: float
    ) -> aiohttp.ClientResponse:
        """200, or 404 of one app. Refused with 401, it is asked once more if we can say better who we are."""
        header = await self.credential.header()
        response = await self._ask(master, path, query, accept, header, seconds)
        if response.status == 401 and await self.credential.renew(header):
            response.close()
            header = await self.credential.header()
            response = await self._ask(master, path, query, accept, header, seconds)
        if response.status == 200 or (response.status == 404 and path.startswith("/v2/apps/")):
            return response
        try:
            raise await self._refusal(response, master, path, header)
        finally:
            response.close()

    async def _ask(
        self, master: str, path: str, query: Query, accept: str, header: str, seconds: float
    ) -> aiohttp.ClientResponse:
        connect = min(self.timeout, _CONNECT_SECONDS)
        try:
            async with asyncio.timeout(self.timeout):
                return await self.session.get(
                    URL(master + path, encoded=True).with_query(query),
                    headers={"Accept": accept, **({"Authorization": header} if header else {})},
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=seconds),
                    allow_redirects=False,
                    server_hostname=self.server_name,
                )
        except TimeoutError as error:
            raise Unavailable(f"{master} has not answered {path} within {self.timeout:g} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{master} cannot be asked for {path}: {error}") from error

    async def _body(self, response: aiohttp.ClientResponse, master: str, path: str) -> bytes:
        try:
            return await response.read()
        except TimeoutError as error:
            raise Unavailable(f"{master} stopped in the middle of its answer to {path}") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{master} broke off its answer to {path}") from error

    async def _refusal(self, response: aiohttp.ClientResponse, master: str, path: str, header: str) -> SourceError:
        status, location = response.status, response.headers.get("Location", "")
        if 300 <= status < 400:
            return Elsewhere(master, location.partition("?")[0] or "nowhere")
        body = await self._body(response, master, path)
        said = " ".join(body.decode(errors="replace").split())
        for secret in filter(None, (header, header.rpartition("=")[2], header.rpartition(" ")[2])):
            said = said.replace(secret, "***")
        text = f"{master} answers {status} to {path}: {said[:_EXCERPT]}"
        if status == 401:
            return Misconfigured(f"{text} (check login, token_file or user)")
        if status == 403:
            return Misconfigured(f"{text} (the account has to be allowed to view apps and events)")
        if status == 429 or status >= 500:
            return Unavailable(text)
        return Misconfigured(f"{text} (is that Marathon's address?)")


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    # The masters are near: to compress an answer costs both sides more than to carry it.
    headers = {"Accept-Encoding": "identity"}
    return aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar())
