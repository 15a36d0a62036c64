"""A version as it is stored, and which version may follow which. Pure."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mesh.control.store.protocol import MOST_BYTES, NAMESPACE, Conflict, Expected, Refused, Unreadable
from mesh.control.version import Change, Content, Version


class _Record(TypedDict):
    number: Annotated[int, Field(ge=1)]
    at: float
    who: str
    why: str
    dtab: str | None
    policies: str


_RECORD = TypeAdapter(_Record)
MOST_NUMBER = 10**10 - 1


def is_name(namespace: str) -> bool:
    return re.fullmatch(NAMESPACE, namespace) is not None


def check(namespace: str, change: Change | None = None) -> None:
    """What can be told before a store is asked. Raises Refused."""
    if not is_name(namespace):
        raise Refused(f"{namespace[:120]!r} is no name of a namespace: {NAMESPACE} expected")
    if change is None:
        return
    longest = Version(namespace, MOST_NUMBER, 1234567890.1234567, change.who, change.why, change.content)
    try:
        size = len(encode(longest, "0" * 32))
    except UnicodeEncodeError as error:
        raise Refused(f"the table, policies, who or why of {namespace} is no text: {error.reason}") from None
    if size > MOST_BYTES:
        large = f"{size:,} bytes as it would be stored, and at most {MOST_BYTES:,} can be"
        raise Refused(f"the table and policies of {namespace} are too large: {large}; split the namespace")


def successor(
    namespace: str, current: Version | None, change: Change, expected: Expected, at: float, last: int = 0
) -> Version:
    """The version that makes `change`. `last`: a number known to be taken. Raises Conflict."""
    if not _holds(expected, current):
        raise Conflict(current)
    number = max(last, current.number if current else 0) + 1
    return Version(namespace, number, at, change.who, change.why, change.content)


def _holds(expected: Expected, current: Version | None) -> bool:
    if expected == "any":
        return True
    if expected == "absent":
        return current is None or current.content is None
    return current is not None and current.number == expected


def encode(version: Version, writing: str) -> bytes:
    """`writing`: of 32 characters, tells apart two writings of the same. Raises UnicodeEncodeError."""
    content = version.content
    record = {
        "number": version.number,
        "at": version.at,
        "who": version.who,
        "why": version.why,
        "dtab": content.dtab if content else None,
        "policies": content.policies if content else "",
        "writing": writing,
    }
    return json.dumps(record, ensure_ascii=False).encode()


def decode(namespace: str, number: int, key: str, value: bytes) -> Version:
    """Raises Unreadable, which names `key`."""
    try:
        record = _RECORD.validate_json(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise unreadable(key, f"{where}: {first['msg']}" if where else first["msg"]) from None
    if record["number"] != number:
        raise unreadable(key, f"it says it is version {record['number']}")
    content = None if record["dtab"] is None else Content(record["dtab"], record["policies"])
    return Version(namespace, number, record["at"], record["who"], record["why"], content)


def unreadable(key: str, reason: str) -> Unreadable:
    return Unreadable(f"{key} is not what Tieline wrote there ({reason}): restore it from a backup of the store")
