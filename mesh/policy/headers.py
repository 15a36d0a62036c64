"""Headers as policies write them: `{x-test: "1"}`. Names are compared in lower case, values are literal text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticKnownError

from mesh.config.fields import text

HEADER: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
_NAME: Final = re.compile(HEADER)
_VALUE: Final = re.compile(r"[ -~]{0,4000}")
_LONGEST_NAME: Final = 100


class Headers(tuple[tuple[str, str], ...]):
    """Names with their values, in order. A value may be a secret: neither repr nor `explain` show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self)})"


def header_name(name: str) -> str:
    """In lower case. Raises ValueError."""
    if not _NAME.match(name) or len(name) > _LONGEST_NAME:
        raise ValueError(f"the name of a header expected, such as x-test, not {name!r}")
    return name.lower()


def _headers(value: object) -> object:
    if isinstance(value, Headers):
        return value
    if not isinstance(value, Mapping):
        raise PydanticKnownError("dict_type")
    found: dict[str, str] = {}
    for written, said in value.items():
        name = header_name(text(written))
        if name in found:
            raise ValueError(f"{name!r} stands there twice")
        found[name] = _value(name, said)
    return Headers(found.items())


def _value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the value of {name!r} must be text: write it in quotes")  # noqa: TRY004 - pydantic reports ValueError
    if not _VALUE.fullmatch(value) or value != value.strip():
        raise ValueError(
            f"the value of {name!r} must be at most 4000 printable ASCII characters, without blanks at its ends"
        )
    return value


HeaderTexts = Annotated[
    Headers,
    BeforeValidator(_headers),
    PlainSerializer(dict, return_type=dict[str, str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
    Field(json_schema_extra={"default": {}}),
]
