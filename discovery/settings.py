"""What every source's configuration has in common."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from discovery.documented import Documented
from discovery.path import Path, PathSyntaxError
from discovery.source import Freshness, Hears, Source

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def _seconds(value: object) -> object:
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError(f"a duration such as 250ms, 2s, 10m or 1h expected, not {value!r}")
        return float(found[1]) * _UNITS[found[2]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a duration such as 250ms, 2s, 10m or 1h expected, not {value!r}")  # noqa: TRY004 - pydantic reports ValueError
    return value


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(ge=0),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": f"^{_DURATION.pattern}$"}, {"type": "number", "minimum": 0}]}
    ),
]
"""Seconds. Written `250ms`, `2s`, `10m`, `1h` or a number of seconds."""


def _prefix(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"a name such as 'consul' expected, not {value!r}")  # noqa: TRY004 - pydantic reports ValueError
    try:
        path = Path.parse("/" + value.strip("/"))
    except PathSyntaxError as error:
        raise ValueError(str(error)) from error
    if not path:
        raise ValueError("a prefix has at least one segment")
    return "/".join(path)


Prefix = Annotated[str, BeforeValidator(_prefix)]


class SourceConfig(Documented):
    """One entry of `sources:`. `open()` builds the source, yields it, and closes what it held."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segments: ClassVar[int] = 1
    """How many path segments after the prefix name one service; what follows them is the residual."""
    longest: ClassVar[bool] = False
    """Names have any number of segments up to `segments`: the longest one that exists wins."""

    kind: str
    prefix: Prefix | None = None
    """Names of this source begin with `/#/<prefix>`; the kind unless said."""
    resync: Duration = 30.0
    """Every observation is read again, whole, this often, so that a lost event costs seconds."""
    confirm_after: Duration = 2.0
    """The loss of all or of more than half of a name's endpoints is held until a read this much later confirms it."""

    last_resort: Duration = 30.0
    """When all endpoints are confirmed to be lost, they still serve for this long if nothing else can."""
    damping: Duration = 1.0
    """An endpoint that comes and goes is used again when it has been there for this long."""

    @property
    def root(self) -> Path:
        return Path(("#", *(self.prefix or self.kind).split("/")))

    @property
    def name_segments(self) -> int:
        return self.segments

    @property
    def fewest_segments(self) -> int:
        """Less than `name_segments` where the last ones may be left away."""
        return 1 if self.longest else self.name_segments

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.POLL, self.resync)

    def open(self) -> AbstractAsyncContextManager[Source]:
        raise NotImplementedError
