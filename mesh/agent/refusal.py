"""Why a caller gets no service: the status, the `l5d-err` header and a short text that ends with what to run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from discovery.path import Path
from mesh.naming import identify
from mesh.naming.bind import Binding, Broken, Waiting
from mesh.naming.dtab import Dtab
from mesh.naming.explain import trail
from mesh.naming.tree import Empty, Fail, Neg

BODY_LIMIT = 3000
"""Bytes. Envoy refuses direct responses over 4096 (RouteConfiguration.max_direct_response_body_size_bytes)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    err: str
    """One line, URL-encoded as Linkerd's `l5d-err` is. Empty: nothing is to be told."""
    body: str


def unidentified(reason: str, wish: str = "Send the name of a service as the Host header.") -> Refusal:
    return _refusal(400, f"unidentified: {reason}", [], wish)


def unreadable(reason: str) -> Refusal:
    """A table that a request brings."""
    return _refusal(400, reason, [], "Send a table such as: l5d-dtab: /svc/users => /svc/users-next")


def no_upgrade(protocol: str) -> Refusal:
    return _refusal(403, f"this router passes no upgrade to {protocol}", [], "Name it in the router's `upgrades`.")


def forbidden(reason: str) -> Refusal:
    return _refusal(403, reason, [], "Send the table with a signature made by: tieline dtab sign")


def unavailable(reason: str, name: str) -> Refusal:
    """`name`: what `tieline explain` takes."""
    return _refusal(503, reason, [], _hint(name))


def refused(binding: Binding, key: str, *, unanswered: bool, local: Dtab | None = None) -> Refusal:
    """`unanswered`: a source that was asked has never answered, so that we can't say there is no such name. `local`:
    the table that the request brought."""
    path, hint = binding.path.show(), _hint(explained(key, binding.path), local)
    steps = trail(binding)
    match binding.tree:
        case Neg() if unanswered:
            return _refusal(503, f"can't tell whether {path} exists: a source doesn't answer", steps, hint)
        case Neg():
            return _refusal(404, f"no such name: {path}", steps, hint)
        case Fail():
            return _refusal(503, f"refused by the table (!): {path}", steps, hint)
        case Empty():
            return _refusal(503, f"nothing behind the name ($): {path}", steps, hint)
        case Broken(reason=reason):
            return _refusal(503, f"can't bind {path}: {reason}", steps, hint)
        case Waiting():
            return _refusal(503, f"no answer in time for {path}", steps, hint)
        case _:
            return _refusal(503, f"no endpoints for {path}", steps, hint)


def hidden(refusal: Refusal) -> Refusal:
    """For callers that must not learn what names and endpoints there are: the status alone."""
    return Refusal(refusal.status, "", f"{HTTPStatus(refusal.status).phrase}\n")


def explained(key: str, path: Path) -> str:
    """What `tieline explain` takes: the name as it was sent, if that is what the path was made of."""
    return key if identify.host(key, Path()) == path[-1:] else path.show()


def _hint(name: str, local: Dtab | None = None) -> str:
    under = f" --dtab-local {shlex.quote(local.show())}" if local else ""
    return f"Run: tieline explain {shlex.quote(name)}{under}"


def _refusal(status: int, err: str, steps: list[str], hint: str) -> Refusal:
    lines = [f"tieline: {err}", *(f"  {step}" for step in steps)]
    body = "\n".join(lines)
    encoded = body.encode()[:BODY_LIMIT].decode(errors="ignore")
    return Refusal(status, quote(err, safe=" /#:;,.()!$~=<>|&*'"), f"{encoded}\n{hint}\n")
