"""Kinds of keys that several sections have: each says what it expects, and is in the JSON schema."""

from __future__ import annotations

import ipaddress
import pathlib
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticKnownError

from discovery.documented import Documented
from discovery.path import Path
from discovery.settings import Duration


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"an IP address expected, not {text!r}") from None


class Labels(tuple[tuple[str, str], ...]):
    """Names with their values, by name."""

    __slots__ = ()


def _labels(value: object) -> object:
    if isinstance(value, Labels):
        return value
    if not isinstance(value, Mapping):
        raise PydanticKnownError("dict_type")
    for name, said in value.items():
        if not isinstance(name, str) or not isinstance(said, str):
            raise ValueError(f"the value of {name!r} must be text: write it in quotes")  # noqa: TRY004
    return Labels(sorted(value.items()))


def _place(path: pathlib.Path, info: ValidationInfo) -> pathlib.Path:
    """Relative to the folder of the configuration file, which `load` passes as context."""
    folder = (info.context or {}).get("folder", pathlib.Path())
    return pathlib.Path(folder) / path


def _path(value: object) -> object:
    return value if isinstance(value, Path) else Path.parse(text(value))


def text(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    return value


_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(r"(\d+) ?(KiB|MiB|GiB)")


def _bytes(value: object) -> object:
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        return int(found[1]) * _UNITS[found[2]]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a size such as 60KiB, 10MiB, 1GiB or a number of bytes expected, not {value!r}")  # noqa: TRY004 - pydantic reports ValueError
    return value


Size = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=1),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^{_SIZE.pattern}$"}, {"type": "integer", "minimum": 1}]}),
]
"""Bytes."""

Place = Annotated[pathlib.Path, AfterValidator(_place)]
Address = Annotated[str, AfterValidator(_address)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
AnyPort = Annotated[int, Field(strict=True, ge=0, le=65535)]
MOST = 2**32 - 1
"""Envoy's counts have 32 bits."""
Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
Whole = Annotated[int, Field(strict=True, ge=0, le=MOST)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]
Flag = Annotated[bool, Field(strict=True)]
Time = Annotated[Duration, Field(gt=0)]

MeshPath = Annotated[
    Path,
    BeforeValidator(_path),
    PlainSerializer(Path.show),
    WithJsonSchema({"type": "string", "pattern": "^/"}),
]

LabelTexts = Annotated[
    Labels,
    BeforeValidator(_labels),
    PlainSerializer(dict, return_type=dict[str, str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
    Field(json_schema_extra={"default": {}}),
]


class Section(Documented):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
