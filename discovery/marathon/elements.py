"""The elements of a long JSON array, one after the other, so that no more than one of them is held as objects. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder

_DECODER = JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")


class Broken(ValueError):
    """Not such an object; the text says where."""


def value(text: str) -> object:
    """All of `text`. Raises Broken."""
    try:
        return json.loads(text)
    except JSONDecodeError as error:
        raise Broken(_place(error, text)) from None
    except RecursionError:
        raise Broken("nested too deeply") from None


def elements(text: str, key: str) -> Iterator[object]:
    """Those of the array at `key` of the object `text`. Raises Broken, maybe at the end: half a text is nothing."""
    head = re.match(rf'[ \t\r\n]*\{{[ \t\r\n]*"{key}"[ \t\r\n]*:[ \t\r\n]*\[', text)
    if head is None:
        yield from _anywhere(text, key)
        return
    at = _skip(text, head.end())
    is_first = True
    while text[at : at + 1] != "]":
        at = at if is_first else _after_comma(text, at)
        element, at = _one(text, at)
        yield element
        at, is_first = _skip(text, at), False
    # What follows the array: mostly the end of the object.
    value("{" + text[at + 1 :].lstrip().removeprefix(","))


def _anywhere(text: str, key: str) -> Iterator[object]:
    found = value(text)
    if not isinstance(found, dict) or not isinstance(found.get(key), list):
        raise Broken(f"an object with a list `{key}` expected")
    yield from found[key]


def _one(text: str, at: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except JSONDecodeError as error:
        raise Broken(_place(error, text)) from None
    except RecursionError:
        raise Broken("nested too deeply") from None


def _after_comma(text: str, at: int) -> int:
    if text[at : at + 1] != ",":
        raise Broken(f"',' or ']' expected at character {at + 1}{_ends(text, at)}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _place(error: JSONDecodeError, text: str) -> str:
    return f"{error.msg} at character {error.pos + 1}{_ends(text, error.pos)}"


def _ends(text: str, at: int) -> str:
    return ", where the text ends" if at >= len(text) else ""
