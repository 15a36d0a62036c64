"""Headers as policies write them: `{x-test: "1"}`. Names are compared in lower case, values are literal text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticKnownError

from mesh.config.fields import text

HEADER: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
_NAME: Final = re.compile(HEADER)
_VALUE: Final = re.compile(r"[ -~]{0,4000}")
_LONGEST_NAME: Final = 100
_MOST: Final = 100
_FRAMING: Final = ("content-length", "te", "trailer", "transfer-encoding")
_CONNECTION: Final = ("connection", "http2-settings", "keep-alive", "proxy-connection", "upgrade")
_OURS: Final = ("l5d-", "x-tieline-")
_ENVOYS: Final = "x-envoy-"


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
    if len(found) > _MOST:
        raise ValueError(f"at most {_MOST} headers expected, not {len(found)}")
    return Headers(found.items())


def _value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the value of {name!r} must be text: write it in quotes")  # noqa: TRY004 - pydantic reports ValueError
    if not _VALUE.fullmatch(value) or value != value.strip():
        raise ValueError(
            f"the value of {name!r} must be at most 4000 printable ASCII characters, without blanks at its ends"
        )
    return value


def refuse(name: str, *, may_be_envoys: bool = False) -> None:
    """Raises ValueError for a header that a policy must not touch: the mesh's own, and what holds messages together."""
    if name == "host":
        raise ValueError("'host' can't be changed here: `rewrite: {host: …}` does that")
    if name in (*_FRAMING, *_CONNECTION):
        raise ValueError(f"{name!r} holds the message together and is the proxy's to write")
    if name.startswith(_OURS):
        raise ValueError(f"{name!r} is a header of the mesh itself")
    if name.startswith(_ENVOYS) and not may_be_envoys:
        raise ValueError(f"{name!r} would steer Envoy; set what it stands for by the policy's other keys")


HeaderName = Annotated[str, AfterValidator(header_name)]
HeaderTexts = Annotated[
    Headers,
    BeforeValidator(_headers),
    PlainSerializer(dict, return_type=dict[str, str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
    Field(json_schema_extra={"default": {}}),
]
