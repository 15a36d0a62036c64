"""The key of a request: the parts that a router's identifiers look at, in order, as Envoy computes it by itself.

Each part is a fragment of the scope's key, so that it is as long as what identifies the request and never the whole
URI. One identifier that reads headers only is free: its fragments are taken from these. Anything else is copied to
private headers first, before the scope is looked for, for two reasons: a fragment that is missing is no key at all, but
in a list the next identifier may know better; and the resolver may write a name in the one way that has a scope without
the service seeing that. What a caller sends in a private header is overwritten, and no service gets one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.naming.identifiers import PATH, Host, Identifier, Part, Said

PRIVATE = "x-tieline-key-"
BETWEEN = "\n"
"""Between the fragments of a key: no header holds it."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """`carrier`: the header that Envoy takes it from."""

    part: Part
    carrier: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A private header, and what it is set to, as Envoy's format."""

    header: str
    value: str


@dataclass(frozen=True, slots=True)
class KeyForm:
    fragments: tuple[Fragment, ...]
    copies: tuple[Copy, ...] = ()

    def said(self, headers: Mapping[str, str]) -> Said:
        return {each.part: _taken(headers.get(each.carrier, ""), each.part) for each in self.fragments}

    def key(self, said: Said) -> str:
        """Of what is missing in `said` the request says nothing."""
        return BETWEEN.join(said.get(each.part, "") for each in self.fragments)

    def parsed(self, key: str) -> Said | None:
        """None: a key of another form."""
        found = fragments(key)
        if len(found) != len(self.fragments):
            return None
        return {each.part: text for each, text in zip(self.fragments, found, strict=True)}

    def headers(self, key: str) -> dict[str, str]:
        """The headers that make Envoy compute this key."""
        split: dict[str, list[str]] = {}
        for each, text in zip(self.fragments, fragments(key), strict=True):
            pieces = split.setdefault(each.carrier, [])
            pieces += [""] * (each.part.index + 1 - len(pieces))
            pieces[each.part.index] = text
        separators = {each.carrier: each.part.separator for each in self.fragments}
        return {carrier: separators[carrier].join(pieces) for carrier, pieces in split.items()}


def fragments(key: str) -> list[str]:
    return key.split(BETWEEN)


def key_form(identifiers: Sequence[Identifier]) -> KeyForm:
    parts = list(dict.fromkeys(part for each in identifiers for part in each.parts))
    if len(identifiers) == 1 and all(part.header != PATH for part in parts):
        return KeyForm(tuple(Fragment(part, part.header) for part in parts))
    # The host without its port and with it are two parts that no one header can say.
    sources = list(dict.fromkeys((part.header, part.separator) for part in parts))
    carriers = {source: f"{PRIVATE}{number}" for number, source in enumerate(sources)}
    deepest = max((part.index for part in parts if part.header == PATH), default=0)
    return KeyForm(
        tuple(Fragment(part, carriers[part.header, part.separator]) for part in parts),
        tuple(Copy(carrier, _format(header, deepest)) for (header, _), carrier in carriers.items()),
    )


def _format(header: str, deepest: int) -> str:
    """A short path is made long enough to have every fragment."""
    return f"%PATH(NQ)%{'/' * deepest}" if header == PATH else f"%REQ({header.upper()})%"


def _taken(value: str, part: Part) -> str:
    pieces = value.split(part.separator) if part.separator else [value]
    return pieces[part.index] if part.index < len(pieces) else ""


HOST_FORM = key_form([Host()])
