r"""Paths: what everything is called.

    path   := '/' [ label ( '/' label )* ]
    label  := 1+ of [0-9A-Za-z_:.#$%-] or '\x' hex hex

A segment is text; bytes that are not UTF-8 are carried as surrogate escapes, so no byte string is lost.
Source: Finagle, com.twitter.finagle.Path and NameTreeParsers.

>>> Path.parse("/svc/users").show()
'/svc/users'
>>> Path.parse(r"/\x66\x6f\x6F")
Path('/foo')
>>> Path(("ab", "a ")).show()
'/ab/\\x61\\x20'
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Self

LABEL = re.compile(r"(?:[0-9A-Za-z_:.#$%-]|\\x[0-9A-Fa-f]{2})+")
_SHOWABLE = re.compile(r"[0-9A-Za-z_:.#$%-]+")
_ESCAPE = re.compile(rb"\\x([0-9A-Fa-f]{2})")


class PathSyntaxError(ValueError):
    """`text` is no path; `position` is the offset of the first character that does not fit, `expected` what would."""

    def __init__(self, text: str, position: int, expected: str) -> None:
        self.text, self.position, self.expected = text, position, expected
        super().__init__(text, position, expected)

    def __str__(self) -> str:
        found = f"{self.text[self.position]!r} found" if self.position < len(self.text) else "the text ends"
        at, text = self.position, self.text
        marked = f"{text[:at]}[{text[at : at + 1]}]{text[at + 1 :]}"
        return f"{self.expected} expected but {found} at position {at}: {marked}"


class Path(tuple[str, ...]):
    """A tuple of non-empty segments. `parse` and `show` are inverse."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises PathSyntaxError."""
        path, end = cls.scan(text, 0)
        if end != len(text):
            raise PathSyntaxError(text, end, "'/' or the end of the path")
        return path

    @classmethod
    def scan(cls, text: str, at: int) -> tuple[Self, int]:
        """The path that begins at `at`, and where it ends."""
        if not text.startswith("/", at):
            raise PathSyntaxError(text, at, "'/'")
        found = LABEL.match(text, at + 1)
        if found is None:
            return cls(), at + 1
        segments = [decode_label(found[0])]
        while text.startswith("/", found.end()):
            following = LABEL.match(text, found.end() + 1)
            if following is None:
                raise PathSyntaxError(text, found.end() + 1, "a label ([0-9A-Za-z_:.#$%-] or \\xHH)")
            found = following
            segments.append(decode_label(found[0]))
        return cls(segments), found.end()

    def show(self) -> str:
        return "/" + "/".join(map(encode_label, self))

    def drop(self, count: int) -> Path:
        return Path(self[count:])

    def take(self, count: int) -> Path:
        return Path(self[:count])

    def then(self, rest: Iterable[str]) -> Path:
        return Path((*self, *rest))

    def startswith(self, prefix: tuple[str, ...]) -> bool:
        return self[: len(prefix)] == prefix

    def __str__(self) -> str:
        return self.show()

    def __repr__(self) -> str:
        return f"Path({self.show()!r})"


def decode_label(label: str) -> str:
    r"""The segment a label stands for: `\xHH` resolved."""
    if "\\" not in label:
        return label
    raw = _ESCAPE.sub(lambda hit: bytes.fromhex(hit[1].decode()), label.encode())
    return raw.decode("utf-8", "surrogateescape")


def encode_label(segment: str) -> str:
    r"""One unshowable byte makes the whole segment print as `\xHH`, as Finagle does."""
    if _SHOWABLE.fullmatch(segment):
        return segment
    return "".join(f"\\x{byte:02x}" for byte in segment.encode("utf-8", "surrogateescape"))
