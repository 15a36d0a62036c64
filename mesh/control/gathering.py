"""The names in use at all replicas: what this one has heard from its agents, and what the others say when asked.

They are asked when a change is judged, all at once, and no longer than ASKED_SECONDS. One that does not answer is told
with the reason: what its agents use is not known.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp

from discovery.source import SourceError
from mesh.control import in_use, status
from mesh.control.config import Replicas
from mesh.control.in_use import InUse
from mesh.control.seen import Seen
from mesh.control.status import Unreadable

ASKED_SECONDS: Final = 2.0
MOST_BYTES: Final = 64 * 1024**2
_REFUSING = {
    401: "it refuses our token",
    403: "our token may not read there",
    404: "it is no control plane of this version",
}


@dataclass(frozen=True, slots=True)
class Gathered:
    """`silent`: by URL, why the names in use there are not known."""

    in_use: InUse
    silent: Mapping[str, str] = field(default_factory=dict)


class Silent(Exception):
    """The text says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """`process`: by which a replica knows itself among those that it asks."""

    seen: Seen
    process: str
    replicas: Replicas | None = None
    session: aiohttp.ClientSession | None = None

    async def gathered(self, namespace: str) -> Gathered:
        here = self.seen.in_use(namespace)
        if self.replicas is None or self.session is None:
            return Gathered(here)
        there = _Asking(self.replicas, self.session, namespace)
        async with asyncio.TaskGroup() as tasks:
            for url in self.replicas.url:
                tasks.create_task(there.ask(url))
        others = [each for process, each in there.answers if process != self.process]
        return Gathered(in_use.merged([here, *others]), there.silent)


@dataclass(frozen=True, slots=True)
class _Asking:
    replicas: Replicas
    session: aiohttp.ClientSession
    namespace: str
    answers: list[tuple[str, InUse]] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)

    async def ask(self, url: str) -> None:
        try:
            async with asyncio.timeout(ASKED_SECONDS):
                body = await self._body(f"{url}/v1/namespaces/{self.namespace}/uses")
            # It may be long.
            self.answers.append(await asyncio.to_thread(_read, body))
        except TimeoutError:
            self.silent[url] = f"no answer within {ASKED_SECONDS:g} s"
        except (Silent, Unreadable, SourceError) as error:
            self.silent[url] = str(error)
        except (aiohttp.ClientError, OSError) as error:
            self.silent[url] = str(error) or type(error).__name__

    async def _body(self, url: str) -> bytes:
        token = self.replicas.token()
        async with self.session.get(
            url,
            headers={} if token is None else {"authorization": f"Bearer {token}"},
            ssl=self.replicas.context(),
            server_hostname=self.replicas.tls.server_name,
            allow_redirects=False,
        ) as answer:
            if answer.status != HTTPStatus.OK:
                raise Silent(_REFUSING.get(answer.status, f"it answers {answer.status} {answer.reason}"))
            body = bytearray()
            # `read(n)` gives what has come so far, which of a long answer is a part.
            async for part in answer.content.iter_any():
                body += part
                if len(body) > MOST_BYTES:
                    raise Silent(f"it answers more than {MOST_BYTES} bytes")
            return bytes(body)


def _read(body: bytes) -> tuple[str, InUse]:
    """The process that answers, and what it says. Raises Unreadable."""
    try:
        said = json.loads(body)
    except ValueError as error:
        raise Unreadable(f"it answers what is no JSON: {error}") from error
    said = status.section(said, "its answer")
    return status.text(said.get("process"), "process"), in_use.read(said)
