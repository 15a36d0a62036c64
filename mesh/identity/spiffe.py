"""SPIFFE ids: `spiffe://<trust domain>/host/<id>` and `spiffe://<trust domain>/service/<name>`. Pure.

Source: https://spiffe.io/docs/latest/spiffe-specs/spiffe-id/, sections 2 and 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SCHEME: Final = "spiffe://"
MOST_BYTES: Final = 2048
MOST_BYTES_OF_A_TRUST_DOMAIN: Final = 255
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


class NotSpiffe(ValueError):
    """The text says what is wrong, and where."""


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """`path`: its segments; none is the id of the trust domain itself, which its authorities have."""

    trust_domain: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join((SCHEME + self.trust_domain, *self.path))

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Raises NotSpiffe."""
        if not text.startswith(SCHEME):
            raise NotSpiffe(f"{text[:100]!r}: a SPIFFE id begins with {SCHEME}")
        domain, *path = text[len(SCHEME) :].split("/")
        return cls.of(domain, *path)

    @classmethod
    def of(cls, trust_domain: str, *path: str) -> SpiffeId:
        """Raises NotSpiffe."""
        found = cls(checked_trust_domain(trust_domain), tuple(_segment(each) for each in path))
        if len(str(found)) > MOST_BYTES:
            raise NotSpiffe(f"{str(found)[:100]!r}…: longer than {MOST_BYTES} bytes")
        return found

    @classmethod
    def host(cls, trust_domain: str, id: str) -> SpiffeId:
        return cls.of(trust_domain, "host", id)

    @classmethod
    def service(cls, trust_domain: str, name: str) -> SpiffeId:
        """`name`: `users`, or a path such as `/svc/users`."""
        return cls.of(trust_domain, "service", *name.removeprefix("/").split("/"))


def checked_trust_domain(text: str) -> str:
    """Raises NotSpiffe."""
    if len(text) > MOST_BYTES_OF_A_TRUST_DOMAIN:
        raise NotSpiffe(f"{text[:50]!r}…: a trust domain has at most {MOST_BYTES_OF_A_TRUST_DOMAIN} characters")
    if not _TRUST_DOMAIN.fullmatch(text):
        raise NotSpiffe(f"{text!r}: a trust domain is made of small letters, digits, '.', '-' and '_'")
    return text


def _segment(text: str) -> str:
    if text in (".", ".."):
        raise NotSpiffe(f"{text!r} can't be a segment of a SPIFFE id")
    if not text:
        raise NotSpiffe("an empty segment: two '/' without something between, or a '/' at the end")
    if not _SEGMENT.fullmatch(text):
        raise NotSpiffe(f"{text[:100]!r}: a segment of a SPIFFE id is made of letters, digits, '.', '-' and '_'")
    return text
