"""Tables that requests bring: whether a router accepts one, and what the request is served under.

A request with a table is led to a scope of its own: the name, bound under the table it brings. The key of that scope
can't be guessed, so that no caller reaches it without showing its table here first.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from mesh.agent import refusal
from mesh.agent.names import Key
from mesh.agent.refusal import Refusal
from mesh.envoy.delegation import Delegated
from mesh.envoy.keys import BETWEEN, PRIVATE, KeyForm
from mesh.naming.dtab import Dtab, DtabSyntaxError
from mesh.naming.local import CONTEXT, SIGNATURE, USER, local_dtab
from mesh.naming.signature import Invalid, sign, verified

MOST_BYTES = 8192
"""Of a table: Envoy takes no longer header from a route, and none of over 60 KiB in all from a caller."""
_TOKEN_BYTES = 16
_MARK = "~table-"

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Local:
    """`table`: what was brought. `passed_on`: the headers by which it reaches the next hop."""

    table: Dtab
    passed_on: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """What a router does with them. `key`: of signatures; None: none is asked for."""

    accepted: bool = False
    key: bytes | None = field(default=None, repr=False)
    clock: Callable[[], float] = time.time

    def local(self, headers: Headers) -> Local | Refusal | None:
        """None: the request brings none, or none is accepted here."""
        if not self.accepted:
            return None
        brought = tuple((name, value) for name, value in headers if name in (USER, CONTEXT))
        if not brought:
            return None
        if sum(len(value) for _, value in brought) > MOST_BYTES:
            return refusal.unreadable(f"the tables of the request have more than {MOST_BYTES} bytes")
        try:
            table = _read(brought)
        except DtabSyntaxError as error:
            return refusal.unreadable(str(error))
        passed_on = ((CONTEXT, table.show()),)
        if self.key is None:
            return Local(table, passed_on)
        said = ",".join(value for name, value in headers if name == SIGNATURE)
        until = verified(self.key, table.show(), said, self.clock())
        if isinstance(until, Invalid):
            return refusal.forbidden(until.reason)
        return Local(table, (*passed_on, (SIGNATURE, sign(self.key, table.show(), until))))


@lru_cache(maxsize=1024)
def _read(brought: tuple[tuple[str, str], ...]) -> Dtab:
    return local_dtab(brought)


def is_for_a_table(key: str) -> bool:
    """Whether this is the key of such a scope."""
    return key.startswith(_MARK)


class Scopes:
    """The keys of scopes that requests with tables are led to."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def led(self, form: KeyForm, asked: Key, local: Local, headers: dict[str, str]) -> tuple[Key, Delegated]:
        """Where a request for `asked` goes under its table, and what its service gets instead of that key."""
        carriers = dict.fromkeys(each.carrier for each in form.fragments)
        said = tuple((name, headers.get(name, "")) for name in carriers if not name.startswith(PRIVATE))
        told = repr((asked, said, local.passed_on)).encode()
        token = _MARK + hashlib.blake2b(told, key=self._secret, digest_size=_TOKEN_BYTES).hexdigest()
        key = BETWEEN.join([token, *[""] * (len(form.fragments) - 1)])
        return (asked[0], key), Delegated((*said, *local.passed_on))
