"""Asks the agent: HTTP with JSON answers, over its Unix socket or TCP. Small, because every command waits for it."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlencode, urlsplit

from mesh.cli.answer import Answer
from mesh.cli.ending import NO, UNREACHABLE, fail

TIMEOUT_SECONDS = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(where: str, path: str, **query: str | None) -> Answer:
    """The agent's answer; ends the command if there is none."""
    asked = urlencode({key: value for key, value in query.items() if value is not None})
    connection = _connection(where)
    try:
        connection.request("GET", f"{path}?{asked}" if asked else path)
        response = connection.getresponse()
        status, body = response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        _unreachable(where, error)
    finally:
        connection.close()
    return _answer(where, path, status, body)


def agent(admin: str | None, config: Path | None) -> str:
    """Where the agent answers: as said, else as configured, else where it is by default."""
    from mesh.config import places

    if admin is not None:
        return admin.removeprefix("unix:")
    file = config or places.config_file(os.environ)
    if config is None and not os.environ.get(places.VARIABLE) and not file.exists():
        return str(places.run_dir(os.environ) / "admin.sock")
    from mesh.config.load import examine

    examined = examine(file)
    if examined.config is None:
        fail("\n".join(str(problem) for problem in examined.errors))
    return str(examined.config.admin_socket)


def _connection(where: str) -> http.client.HTTPConnection:
    if "://" not in where:
        return _UnixConnection(where)
    url = urlsplit(where)
    try:
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if url.scheme != "http" or not host:
        fail(f"--admin: http://HOST:PORT or the path of a Unix socket expected, not {where!r}", 2)
    return http.client.HTTPConnection(host, port or 80, timeout=TIMEOUT_SECONDS)


def _unreachable(where: str, error: Exception) -> NoReturn:
    match error:
        case FileNotFoundError():
            reason, remedy = "there is no such socket", "Start the agent (`tieline agent`)"
        case ConnectionRefusedError():
            reason, remedy = "nobody listens there", "Start the agent (`tieline agent`)"
        case PermissionError():
            reason, remedy = "permission denied", "Run this as the agent's user"
        case TimeoutError():
            reason, remedy = f"no answer within {TIMEOUT_SECONDS:.0f} s", "Look at the agent's log"
        case _:
            reason, remedy = str(error) or type(error).__name__, "Check the address"
    fail(f"the agent can't be reached at {where}: {reason}. {remedy}, or name another with --admin or -c", UNREACHABLE)


def _answer(where: str, path: str, status: int, body: bytes) -> Answer:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        fail(f"{where} answered {path} with {status} and no JSON object. Is it a Tieline agent?", UNREACHABLE)
    if status >= 400:
        fail(f"the agent answered: {answer.get('error', f'status {status}')}", NO)
    return Answer(answer)
