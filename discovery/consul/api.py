"""Consul's HTTP API as far as we ask it. Bytes and headers come out; what went wrong is told by `SourceError`s."""

from __future__ import annotations

import errno
from collections.abc import Container, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from discovery.consul.credentials import Credential
from discovery.source import Misconfigured, SourceError, Unavailable

_EXCERPT = 200

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """`index`: 0 when there was none to block on. `default_policy`: '' where this Consul is too old to say."""

    body: bytes
    index: int
    default_policy: str = ""
    filtered: bool = False
    status: int = 200


@dataclass(frozen=True, slots=True)
class Api:
    """Two pools, so that neither starves the other: `reads` are answered at once, `watches` are blocking queries."""

    base: str
    """Of every URL; `shown` is what a reader knows it by."""
    shown: str
    reads: aiohttp.ClientSession
    watches: aiohttp.ClientSession
    credential: Credential
    timeout: float
    """For what is answered at once; a blocking query has this beyond its wait."""
    server_name: str | None = None
    needs: str = "service:read and node:read"
    """What the token must have for what is asked here."""

    async def read(self, path: str, query: Query, also: Container[int] = ()) -> Reply:
        """`also`: answers that are no failure, besides 200."""
        return await self._ask(self.reads, "GET", path, query, self.timeout, also)

    async def write(self, path: str, body: bytes, also: Container[int] = ()) -> Reply:
        return await self._ask(self.reads, "PUT", path, {}, self.timeout, also, body)

    async def watch(self, path: str, query: Query, index: int, wait: float, also: Container[int] = ()) -> Reply:
        """Answers when the index is beyond `index`, or after `wait` seconds."""
        blocking = {**query, "index": str(index), "wait": f"{max(1, round(wait * 1000))}ms"}
        return await self._ask(self.watches, "GET", path, blocking, wait + wait / 16 + self.timeout, also)

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        query: Query,
        seconds: float,
        also: Container[int],
        body: bytes | None = None,
    ) -> Reply:
        token = self.credential.token()
        try:
            async with session.request(
                method,
                URL(self.base + path, encoded=True).with_query(query),
                data=body,
                headers={"X-Consul-Token": token} if token else None,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
                server_hostname=self.server_name,
            ) as response:
                said = await response.read()
        except TimeoutError as error:
            raise Unavailable(f"Consul at {self.shown} has not answered {path} within {seconds:.1f} s") from error
        except aiohttp.ServerDisconnectedError as error:
            raise self._cut_off(path) from error
        except aiohttp.ClientError as error:
            if isinstance(error, OSError) and error.errno == errno.ECONNRESET:
                raise self._cut_off(path) from error
            raise Unavailable(f"Consul at {self.shown} cannot be asked for {path}: {error}") from error
        if response.status != 200 and response.status not in also:
            raise self._refusal(path, response.status, said, token)
        return self._reply(path, response.status, said, response.headers)

    def _reply(self, path: str, status: int, body: bytes, headers: Mapping[str, str]) -> Reply:
        if headers.get("X-Consul-Knownleader") == "false":
            # A server that has just started and knows nobody yet answers stale reads too: with nothing.
            raise Unavailable(f"Consul at {self.shown} knows no leader: its answer to {path} may be anything")
        return Reply(
            body=body,
            index=_index(headers.get("X-Consul-Index")),
            default_policy=headers.get("X-Consul-Default-Acl-Policy", ""),
            filtered=headers.get("X-Consul-Results-Filtered-By-Acls") == "true",
            status=status,
        )

    def _refusal(self, path: str, status: int, body: bytes, token: str) -> SourceError:
        said = " ".join(body.decode(errors="replace").split())
        said = said.replace(token, "***") if token else said
        text = f"Consul at {self.shown} answers {status} to {path}: {said[:_EXCERPT]}"
        if status in (401, 403):
            return Misconfigured(f"{text} (the token must have {self.needs})")
        if status == 429 or status >= 500:
            return Unavailable(text)
        return Misconfigured(text)

    def _cut_off(self, path: str) -> Unavailable:
        limit = "more connections than its limits.http_max_conns_per_client, if it is up"
        return Unavailable(f"Consul at {self.shown} closed the connection on {path} ({limit})")


def _index(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else 0


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    # The agent is near: to compress an answer costs both sides more than to carry it.
    headers = {"Accept-Encoding": "identity"}
    return aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar())
