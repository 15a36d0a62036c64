"""Who is asking, and what they may do: a token, a client's certificate, the Unix socket, or nobody.

No text here holds a token.
"""

from __future__ import annotations

import hmac
import logging
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mesh.control.grants import Entry, Grants, Role, digest, examine

logger = logging.getLogger("tieline.access")

Via = Literal["token", "certificate", "socket", "nobody"]

_SCHEME = "bearer"
_WAYS = "Send `Authorization: Bearer TOKEN`; `tieline control token NAME --role {role}` makes one"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of its sender. `authorization`: the header. `certificate`: as `SSLSocket.getpeercert` has
    it. `user`: who opened the Unix socket; None: it came by another way."""

    authorization: str | None = None
    certificate: Mapping[str, object] | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """`namespaces`: of an agent; None: any."""

    name: str
    via: Via
    roles: frozenset[Role]
    namespaces: frozenset[str] | None = None

    def may(self, role: Role) -> bool:
        return role in self.roles

    def may_have(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces


class Denied(Exception):
    """The text says which role is needed. `status`: 401 to who did not say who they are, else 403."""

    def __init__(self, status: int, text: str, caller: Caller) -> None:
        super().__init__(text)
        self.status, self.caller = status, caller


NOBODY: Final = Caller("nobody", "nobody", frozenset())
STRANGER: Final = Caller("nobody", "nobody", frozenset({Role.READ}))
"""Nobody, where reading is allowed without a token."""
_ROLES: Final[Mapping[Role, frozenset[Role]]] = {
    Role.READ: frozenset({Role.READ}),
    Role.WRITE: frozenset({Role.READ, Role.WRITE}),
    Role.AGENT: frozenset({Role.AGENT}),
}


class Access:
    """`file`: of grants, read again when it changes; a bad one is reported and the last good one counts."""

    def __init__(self, file: pathlib.Path | None, *, strangers_read: bool) -> None:
        self._file = file
        self._nobody = STRANGER if strangers_read else NOBODY
        self._grants = Grants()
        self._signature: tuple[int, ...] | str = ()
        self.problem: str | None = None
        """Why what counts is not what stands in the file."""

    def caller(self, shown: Shown) -> Caller:
        """Raises Denied for what is shown and not known."""
        self._look()
        if shown.authorization is not None:
            return self._of_token(shown.authorization)
        if shown.user is not None:
            return Caller(shown.user, "socket", frozenset(Role))
        if shown.certificate:
            return self._of_certificate(shown.certificate)
        return self._nobody

    def _of_token(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != _SCHEME or not token.strip():
            raise Denied(401, "the header Authorization is to read `Bearer TOKEN`", NOBODY)
        presented, found = digest(token.strip()), None
        for each in self._grants.tokens:  # All of them: how long it takes tells nothing.
            if hmac.compare_digest(each.sha256, presented):
                found = each
        if found is None:
            text = "this token is not known here. Ask for a new one, or add its entry to the tokens_file"
            raise Denied(401, text, NOBODY)
        return _granted(found, "token")

    def _of_certificate(self, certificate: Mapping[str, object]) -> Caller:
        names = list(_names(certificate))
        for name in names:
            for each in self._grants.certificates:
                if each.name == name:
                    return _granted(each, "certificate")
        return Caller(names[0] if names else "nobody", "certificate", self._nobody.roles)

    def _look(self) -> None:
        if self._file is None:
            return
        signature = _signature(self._file)
        if signature == self._signature:
            return
        self._signature, examined = signature, examine(self._file)
        if examined.grants is not None:
            self._grants, self.problem = examined.grants, None
            tokens, certificates = len(self._grants.tokens), len(self._grants.certificates)
            logger.info("tokens read", extra={"fields": {"tokens": tokens, "certificates": certificates}})
        else:
            self.problem = "; ".join(map(str, examined.problems))
            logger.error("the tokens_file can't be used, the last good one counts\n%s", self.problem)


def demand(caller: Caller, role: Role) -> None:
    """Raises Denied."""
    if caller.may(role):
        return
    if caller.via == "nobody":
        raise Denied(
            401, f"this needs the role {role}, and nothing says who you are. {_WAYS.format(role=role)}", caller
        )
    has = ", ".join(sorted(caller.roles)) or "none"
    raise Denied(403, f"this needs the role {role}; {caller.name} has {has}", caller)


def _granted(entry: Entry, via: Via) -> Caller:
    namespaces = None if entry.namespaces is None else frozenset(entry.namespaces)
    return Caller(entry.name, via, _ROLES[entry.role], namespaces)


def _names(certificate: Mapping[str, object]) -> Iterator[str]:
    """URIs, then DNS names, then the common name."""
    alternatives = certificate.get("subjectAltName", ())
    assert isinstance(alternatives, tuple)
    for kind in ("URI", "DNS"):
        yield from (value for each, value in alternatives if each == kind)
    subject = certificate.get("subject", ())
    assert isinstance(subject, tuple)
    yield from (value for part in subject for key, value in part if key == "commonName")


def _signature(file: pathlib.Path) -> tuple[int, ...] | str:
    try:
        stat = file.stat()
    except OSError as error:
        return str(error.strerror)
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
