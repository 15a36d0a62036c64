"""A line of a watch -> what it says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Generic, Literal, NotRequired, TypeVar

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from discovery.kubernetes import records
from discovery.kubernetes.records import Malformed, Meta, RawService, RawSlice, Service, Slice

T = TypeVar("T", Slice, Service)


@dataclass(frozen=True, slots=True)
class Put(Generic[T]):
    """There is such an object now."""

    record: T
    version: str


@dataclass(frozen=True, slots=True)
class Removed:
    """There is no such object any more."""

    namespace: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Bookmark:
    """All up to this version has been told."""

    version: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The watch is over. `code`: as of HTTP; 410 where the version is too old to go on from."""

    code: int
    message: str


class Status(TypedDict):
    kind: Literal["Status"]
    code: NotRequired[int | None]
    message: NotRequired[str | None]


class _Versioned(TypedDict):
    resourceVersion: str


class _Mark(TypedDict):
    metadata: _Versioned


class _Object(TypedDict):
    metadata: Meta


class _Deleted(TypedDict):
    type: Literal["DELETED"]
    object: _Object


class _Bookmark(TypedDict):
    type: Literal["BOOKMARK"]
    object: _Mark


class _Error(TypedDict):
    type: Literal["ERROR"]
    object: Status


class _PutSlice(TypedDict):
    type: Literal["ADDED", "MODIFIED"]
    object: RawSlice


class _PutService(TypedDict):
    type: Literal["ADDED", "MODIFIED"]
    object: RawService


_Rest = _Deleted | _Bookmark | _Error
_SLICE: TypeAdapter[_PutSlice | _Rest] = TypeAdapter(Annotated[_PutSlice | _Rest, Field(discriminator="type")])
_SERVICE: TypeAdapter[_PutService | _Rest] = TypeAdapter(Annotated[_PutService | _Rest, Field(discriminator="type")])
_STATUS = TypeAdapter(Status)

Event = Put[T] | Removed | Bookmark | Failed


def slice_event(line: bytes) -> Event[Slice]:
    """Raises Malformed."""
    event = records.checked(_SLICE, line)
    if event["type"] == "ADDED" or event["type"] == "MODIFIED":
        return Put(records.endpoint_slice(event["object"]), _version(event["object"]["metadata"]))
    return _rest(event)


def service_event(line: bytes) -> Event[Service]:
    """Raises Malformed."""
    event = records.checked(_SERVICE, line)
    if event["type"] == "ADDED" or event["type"] == "MODIFIED":
        return Put(records.service(event["object"], "object"), _version(event["object"]["metadata"]))
    return _rest(event)


def failure(body: bytes) -> Failed | None:
    """Of the body of an answer with an HTTP error. None: that is not how Kubernetes says no."""
    try:
        return _failed(records.checked(_STATUS, body))
    except Malformed:
        return None


def _rest(event: _Rest) -> Removed | Bookmark | Failed:
    match event["type"]:
        case "DELETED":
            meta = event["object"]["metadata"]
            return Removed(meta["namespace"], meta["name"], _version(meta))
        case "BOOKMARK":
            return Bookmark(event["object"]["metadata"]["resourceVersion"])
        case "ERROR":
            return _failed(event["object"])


def _failed(status: Status) -> Failed:
    return Failed(status.get("code") or 0, " ".join((status.get("message") or "").split()))


def _version(meta: Meta) -> str:
    version = meta.get("resourceVersion")
    if not version:
        raise Malformed("object.metadata.resourceVersion: a version expected")
    return version
