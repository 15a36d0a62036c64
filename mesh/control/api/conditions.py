"""If-Match and If-None-Match: what has to be in force for a change to be made. RFC 9110 §13.1. Pure.

Our ETags are quoted, as the RFC has it; Namerd's are not. Both are read.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mesh.control.version import Version

_TAG = re.compile(r'\s*(?:(W/)?"([^"]*)"|([^\s,"]+))\s*(?:,|$)')


class Unreadable(ValueError):
    """The text says which header."""


@dataclass(frozen=True, slots=True)
class Tags:
    """`every`: `*`. `numbers`: those of versions; a tag that is none of ours, or a weak one, matches nothing."""

    every: bool
    numbers: frozenset[int] = frozenset()

    def match(self, current: Version | None) -> bool:
        there = current is not None and current.content is not None
        return there and current is not None and (self.every or current.number in self.numbers)


@dataclass(frozen=True, slots=True)
class Precondition:
    match: Tags | None = None
    none_match: Tags | None = None

    def holds(self, current: Version | None) -> bool:
        if self.match is not None and not self.match.match(current):
            return False
        return self.none_match is None or not self.none_match.match(current)


ANY: Final = Precondition()


def precondition(match: str | None, none_match: str | None) -> Precondition:
    """Raises Unreadable."""
    return Precondition(_tags("If-Match", match), _tags("If-None-Match", none_match))


def _tags(header: str, text: str | None) -> Tags | None:
    if text is None:
        return None
    if text.strip() == "*":
        return Tags(every=True)
    return Tags(every=False, numbers=frozenset(_numbers(header, text)))


def _numbers(header: str, text: str) -> Iterator[int]:
    at = 0
    while at < len(text):
        found = _TAG.match(text, at)
        if found is None:
            raise Unreadable(f"the header {header} is to hold an ETag, or *")
        number = version_number(found[2] if found[2] is not None else found[3])
        if number is not None and not found[1]:
            yield number
        at = found.end()


def version_number(etag: str) -> int | None:
    """None: no version of ours has this ETag."""
    try:
        text = base64.b64decode(etag, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,17}", text) else None
