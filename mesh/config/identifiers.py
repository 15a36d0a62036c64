"""`routers[].identifier`: one section or a list of them. Each kind makes an identifier of `mesh.naming.identifiers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticKnownError

from discovery.path import Path
from mesh.config.fields import Flag, Section
from mesh.naming import identifiers
from mesh.naming.identifiers import Identifier


def _path(value: object) -> object:
    if not isinstance(value, str | Path):
        raise PydanticKnownError("string_type")
    path = Path.parse(value) if isinstance(value, str) else value
    if not path:
        raise ValueError("a path of at least one segment expected, not '/'")
    return path


NamePath = Annotated[
    Path,
    BeforeValidator(_path),
    PlainSerializer(Path.show),
    WithJsonSchema({"type": "string", "pattern": "^/."}),
]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
# A path of more has no use, and each is a fragment of the key.
Segments = Annotated[int, Field(strict=True, ge=1, le=20)]


class HostIdentifier(Section):
    kind: Literal["host"] = Field(default="host", examples=["host"])
    """What names a request. `host`: the Host header without its port, so that `Host: users` is `/svc/users`."""

    def identifier(self) -> Identifier:
        return identifiers.Host()


class HeaderIdentifier(Section):
    kind: Literal["header"] = Field(examples=["header"])
    """A header holds a path, so that `l5d-name: /users/v2` is `/svc/users/v2`."""
    header: HeaderName = Field(default="l5d-name", examples=["l5d-name"])
    """The header's name."""

    def identifier(self) -> Identifier:
        return identifiers.Header(self.header)


class HeaderTokenIdentifier(Section):
    kind: Literal["header_token"] = Field(examples=["header_token"])
    """A header's value as it stands is one segment, so that `Host: Users:80` is `/svc/Users:80`."""
    header: HeaderName = Field(default="host", examples=["x-service"])
    """The header's name."""

    def identifier(self) -> Identifier:
        return identifiers.HeaderToken(self.header)


class PathIdentifier(Section):
    kind: Literal["path"] = Field(examples=["path"])
    """The first segments of the URI's path, so that `/users/list` is `/svc/users`."""
    segments: Segments = Field(default=1, examples=[1])
    """How many segments, at most 20. A request with fewer is not identified."""
    consume: Flag = Field(default=False, examples=[True])
    """Take these segments off before the request is sent on: `/users/list?all` becomes `/list?all`."""

    def identifier(self) -> Identifier:
        return identifiers.UriPath(self.segments, self.consume)


class MethodAndHostIdentifier(Section):
    kind: Literal["method_and_host"] = Field(examples=["method_and_host"])
    """Method and Host header, so that `GET` of `Host: web` is `/svc/1.1/GET/web`."""

    def identifier(self) -> Identifier:
        return identifiers.MethodAndHost()


class StaticIdentifier(Section):
    kind: Literal["static"] = Field(examples=["static"])
    """Every request has the same name."""
    path: NamePath = Field(examples=["/web"])
    """The name: `/web` is `/svc/web`."""

    def identifier(self) -> Identifier:
        return identifiers.Static(self.path)


AnyIdentifier = (
    HostIdentifier
    | HeaderIdentifier
    | HeaderTokenIdentifier
    | PathIdentifier
    | MethodAndHostIdentifier
    | StaticIdentifier
)
KINDS: Mapping[str, type[AnyIdentifier]] = {
    "host": HostIdentifier,
    "header": HeaderIdentifier,
    "header_token": HeaderTokenIdentifier,
    "path": PathIdentifier,
    "method_and_host": MethodAndHostIdentifier,
    "static": StaticIdentifier,
}


def _read(value: object, _: ValidatorFunctionWrapHandler) -> AnyIdentifier | tuple[AnyIdentifier, ...]:
    """By `kind`, so that a mistake is told of the kind that is meant and at its place in the file."""
    if not isinstance(value, list | tuple):
        return _section(value)
    if not value:
        raise PydanticKnownError("too_short", {"field_type": "List", "min_length": 1, "actual_length": 0})
    found: list[AnyIdentifier] = []
    wrong: list[InitErrorDetails] = []
    for index, each in enumerate(value):
        try:
            found.append(_section(each))
        except ValidationError as error:
            wrong += [_at(index, details) for details in error.errors()]
    if wrong:
        raise ValidationError.from_exception_data("identifier", wrong)
    return tuple(found)


def _section(value: object) -> AnyIdentifier:
    if isinstance(value, AnyIdentifier):
        return value
    if not isinstance(value, Mapping):
        raise _wrong("dict_type", (), value)
    kind = value.get("kind", "host")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _wrong("literal_error", ("kind",), kind, {"expected": _listed(list(KINDS))})
    return KINDS[kind].model_validate(value)


def _wrong(
    kind: str, loc: tuple[str | int, ...], value: object, context: dict[str, object] | None = None
) -> ValidationError:
    details = InitErrorDetails(type=kind, loc=loc, input=value, ctx=context or {})
    return ValidationError.from_exception_data("identifier", [details])


def _at(index: int, error: ErrorDetails) -> InitErrorDetails:
    """The same mistake, of one entry of a list."""
    loc, context = (index, *error["loc"]), error.get("ctx", {})
    return InitErrorDetails(type=error["type"], loc=loc, input=error["input"], ctx=context)


def _listed(words: list[str]) -> str:
    *most, last = (repr(word) for word in words)
    return f"{', '.join(most)} or {last}"


Identifiers = Annotated[AnyIdentifier | Annotated[tuple[AnyIdentifier, ...], Field(min_length=1)], WrapValidator(_read)]
