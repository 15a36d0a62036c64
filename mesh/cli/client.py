"""Asks the agent: over its Unix socket or TCP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from mesh.cli import connection
from mesh.cli.answer import Answer
from mesh.cli.connection import FAILURES, TIMEOUT_SECONDS, Reply
from mesh.cli.ending import NO, UNREACHABLE, fail


def ask(where: str, path: str, **query: str | None) -> Answer:
    """The agent's answer; ends the command if there is none."""
    place = connection.place(where, "http")
    if place is None:
        fail(f"--admin: http://HOST:PORT or the path of a Unix socket expected, not {where!r}", 2)
    try:
        reply = connection.exchange(place.connection(None, TIMEOUT_SECONDS), "GET", connection.target(path, query))
    except FAILURES as error:
        _unreachable(where, error)
    return _answer(where, path, reply)


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


def _answer(where: str, path: str, reply: Reply) -> Answer:
    answer = reply.answer
    if answer is None:
        fail(f"{where} answered {path} with {reply.status} and no JSON object. Is it a Tieline agent?", UNREACHABLE)
    if reply.status >= 400:
        fail(f"the agent answered: {answer.get('error', f'status {reply.status}')}", NO)
    return answer
