"""The `{capture}` patterns of Linkerd 1: `/foo/{service}.{zone}/*`.

An element is literal text, `*`, or text with captures. Captures are greedy, and there may be several in one element.
A pattern matches as a prefix: what the path has beyond it is discarded. Elements are compared as they are shown, so
that a capture can be written back into a path. An element with captures is searched for, not matched whole, as in
Linkerd 1: `{name}:http` also finds `web:https`.
Source: Linkerd, com.twitter.finagle.buoyant.PathMatcher.

>>> from discovery.path import Path
>>> Pattern("/{service}.{zone}").captures(Path.parse("/web.eu.internal/rest"))
{'service': 'web.eu', 'zone': 'internal'}
>>> substitute("/{zone}/{service}", {'service': 'web', 'zone': 'eu'})
'/eu/web'
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from discovery.path import Path, encode_label
from mesh.naming.prefix import WILDCARD, Prefix

_CAPTURE = re.compile(r"\{([A-Za-z0-9.:_-]+)\}")


@dataclass(frozen=True, slots=True)
class _Element:
    """`literals` stand before, between and after the captures `names`: one more than there are names."""

    literals: tuple[str, ...]
    names: tuple[str, ...]

    def captures(self, segment: str) -> dict[str, str] | None:
        if not self.names:
            return {} if self.literals[0] in ("*", segment) else None
        # Greedy: the first literal as early, the others as late as they can stand. Done by hand, because
        # a regular expression with several `(.*)` takes polynomial time on a long Host header.
        found = segment.find(self.literals[0])
        start, end = found + len(self.literals[0]), len(segment)
        values: list[str] = []
        for literal in reversed(self.literals[1:]):
            at = segment.rfind(literal, start, end)
            if found < 0 or at < 0:
                return None
            values.append(segment[at + len(literal) : end])
            end = at
        values.append(segment[start:end])
        return dict(zip(self.names, reversed(values[1:]), strict=True))


@dataclass(frozen=True, slots=True)
class Pattern:
    text: str
    _elements: tuple[_Element, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        elements = self.text.strip("/").split("/") if self.text.strip("/") else []
        object.__setattr__(self, "_elements", tuple(_element(element) for element in elements))

    @property
    def prefix(self) -> Prefix:
        """What a path that matches begins with, as its segments are shown; `*` where that takes a closer look."""
        return tuple(
            WILDCARD if element.names or element.literals[0] == "*" else element.literals[0]
            for element in self._elements
        )

    def captures(self, path: tuple[str, ...]) -> dict[str, str] | None:
        """None when the path does not match."""
        if len(path) < len(self._elements):
            return None
        found: dict[str, str] = {}
        for element, segment in zip(self._elements, path, strict=False):
            captured = element.captures(encode_label(segment))
            if captured is None:
                return None
            found.update(captured)
        return found

    def rewrite(self, path: tuple[str, ...], name: str) -> Path | None:
        """`name` with the captures filled in; None when the path does not match. Raises PathSyntaxError."""
        captured = self.captures(path)
        return None if captured is None else Path.parse(substitute(name, captured))


def substitute(text: str, captured: Mapping[str, str]) -> str:
    """A capture that was not made stays as it is written."""
    return _CAPTURE.sub(lambda hit: captured.get(hit[1], hit[0]), text)


def capture_names(text: str) -> tuple[str, ...]:
    """What `substitute` would fill in, in order."""
    return tuple(_CAPTURE.findall(text))


def _element(text: str) -> _Element:
    # split() gives text, name, text, name, ..., text
    pieces = _CAPTURE.split(text)
    return _Element(tuple(pieces[::2]), tuple(pieces[1::2]))
