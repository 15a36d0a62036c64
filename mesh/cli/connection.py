"""One HTTP exchange with JSON in it, over a Unix socket, TCP or TLS. Small, because every command waits for it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from mesh.cli.answer import Answer

TIMEOUT_SECONDS = 10.0

# What an exchange can fail with.
FAILURES = (OSError, http.client.HTTPException)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def answer(self) -> Answer | None:
        """None: it is no JSON object."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return None
        return Answer(value) if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Place:
    """`host` None: `path` is a Unix socket."""

    path: str
    scheme: str = "http"
    host: str | None = None
    port: int = 80

    def connection(self, context: ssl.SSLContext | None, timeout: float) -> http.client.HTTPConnection:
        if self.host is None:
            return _UnixConnection(self.path, timeout)
        if self.scheme == "https":
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)


def place(where: str, *schemes: str) -> Place | None:
    """`schemes`: what an address may begin with. None: `where` is none of these, nor the path of a socket."""
    if "://" not in where:
        return Place(where.removeprefix("unix:"))
    try:
        url = urlsplit(where)
        host, port = url.hostname, url.port
    except ValueError:
        return None
    if url.scheme not in schemes or not host or url.path.strip("/") or url.query:
        return None
    return Place("", url.scheme, host, port or (443 if url.scheme == "https" else 80))


def target(path: str, query: Mapping[str, object]) -> str:
    asked = urlencode({key: value for key, value in query.items() if value is not None})
    return f"{path}?{asked}" if asked else path


def segment(text: str) -> str:
    """For a path: a slash in it is no separator."""
    return quote(text, safe="")


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Closes the connection. Raises one of FAILURES."""
    sent = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"content-type": "application/json"}
    try:
        connection.request(method, target, sent, {**kind, **(headers or {})})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, response.read())
    finally:
        connection.close()
