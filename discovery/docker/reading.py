"""JSON that somebody else wrote -> what it should be, or an error that says where it is not. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_DECODER = json.JSONDecoder()


class Malformed(ValueError):
    """The body is not what Docker answers; the text says where."""


def entries(body: str) -> Iterator[object]:
    """The members of a JSON array, one after the other, so that a long one does not hold up every other thread."""
    at = _blank(body, 0)
    if not body.startswith("[", at):
        raise Malformed(f"a list expected, not {body[:50]!r}")
    at, first = _blank(body, at + 1), True
    while not body.startswith("]", at):
        if not first:
            if not body.startswith(",", at):
                raise Malformed(f"the list breaks off after {at} characters")
            at = _blank(body, at + 1)
        try:
            entry, at = _DECODER.raw_decode(body, at)
        except ValueError as error:
            raise Malformed(f"the list can't be read at character {at}: {error}") from None
        yield entry
        at, first = _blank(body, at), False
    if body[at + 1 :].strip():
        raise Malformed(f"more follows after the list's end at character {at}")


def _blank(body: str, at: int) -> int:
    while at < len(body) and body[at] in " \t\r\n":
        at += 1
    return at


def checked(adapter: TypeAdapter[T], entry: object, where: str = "") -> T:
    try:
        return adapter.validate_python(entry, strict=True)
    except ValidationError as error:
        raise malformed(error, where) from None


def malformed(error: ValidationError, where: str = "") -> Malformed:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(filter(None, [where, *map(str, first["loc"])]))
    return Malformed(f"{place}: {first['msg']}" if place else first["msg"])
