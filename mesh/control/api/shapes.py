"""What our own routes take and answer. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from mesh.control.api.route import Shape
from mesh.control.audit import Record
from mesh.control.store.protocol import MOST_BYTES
from mesh.control.version import Version

Text = Annotated[str, Field(max_length=MOST_BYTES)]
Why = Annotated[str, Field(max_length=1000)]
Json = dict[str, Any]


class Written(Shape):
    """A table, policies or both. What is left away stays as it is."""

    dtab: Text | None = None
    """The delegation table, in Finagle's grammar."""
    policies: Text | None = None
    """The policies, a YAML list."""


class Put(Written):
    why: Why = ""
    """The reason, for the history."""
    yes: bool = False
    """Also if more requests would move than the limit allows."""


class Rollback(Shape):
    to: int = Field(ge=1)
    """The version whose content is to be in force again."""
    why: Why = ""
    """The reason, for the history."""
    yes: bool = False
    """Also if more requests would move than the limit allows."""


class DeleteQuery(Shape):
    why: Why = ""
    """The reason, for the history."""
    yes: bool = False
    """Also if more requests would move than the limit allows."""


class VersionQuery(Shape):
    version: int | None = Field(default=None, ge=1)
    """That version, instead of the one in force."""


class HistoryQuery(Shape):
    limit: int = Field(default=50, ge=1, le=200)
    """How many versions at most."""
    before: int | None = Field(default=None, ge=1)
    """Only those with lower numbers."""


class ExplainQuery(Shape):
    name: str = Field(min_length=1, max_length=2000)
    """A name such as `users`, or a path such as /svc/users."""
    router: str | None = None
    """Whose name it is."""
    agent: str | None = None
    """As this agent sees it."""
    at: str | None = None
    """As it was at this time: seconds since the epoch, or ISO 8601."""
    dtab: Text | None = None
    """Entries put on top of the table."""


class NamesQuery(Shape):
    only: str | None = Field(default=None, max_length=6000)
    """These names alone, as paths with commas between."""


class LimitQuery(Shape):
    limit: int = Field(default=100, ge=1, le=1000)
    """How many at most."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A version, without its content. `deleted`: it is the namespace's end."""

    namespace: str
    version: int
    etag: str
    at: float
    who: str
    why: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class Stored(Summary):
    """A version: the content as it was written, who made it and why."""

    dtab: str | None
    policies: str | None


@dataclass(frozen=True, slots=True)
class Changed(Stored):
    """The version now in force, and what its preview said; null where nothing had to change."""

    preview: Json | None


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Also those that were deleted."""

    namespaces: list[Summary]


@dataclass(frozen=True, slots=True)
class History:
    """Newest first. `more`: there are older ones, below the last number here."""

    versions: list[Stored]
    more: bool


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Somebody else was faster. `current`: what is in force."""

    error: str
    current: Stored | None


@dataclass(frozen=True, slots=True)
class Moves:
    """More would move than the limit allows."""

    error: str
    preview: Json


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a table or with policies, where, and what to do about it."""

    code: str
    level: Literal["error", "warning", "info"]
    where: Literal["dtab", "policies"]
    line: int
    column: int
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Problems:
    problems: list[Problem]


@dataclass(frozen=True, slots=True)
class Unusable:
    """Nothing was changed. `problems`: of the table and the policies, if it is these."""

    error: str
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Source:
    """One of the control plane's sources: what it answers, and when it last did."""

    prefix: str
    kind: str
    freshness: str | None
    state: str
    observations: int
    held: int
    lost: int
    failed: int
    errors: int
    oldest_confirmed_seconds: float | None
    newest_confirmed_seconds: float | None
    reason: str | None
    last_error: str | None
    last_error_seconds: float | None


@dataclass(frozen=True, slots=True)
class Sources:
    sources: list[Source]


@dataclass(frozen=True, slots=True)
class Audited:
    """Newest first. Of a change that `begun` is all that is known of, the store says what came of it."""

    records: list[Record]


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """`held`: why what is served may be old: the store can't be asked. `held_seconds`: for how long."""

    kind: str
    answered: bool
    held: str | None
    held_seconds: float | None


@dataclass(frozen=True, slots=True)
class Health:
    """`ok`: nothing of what follows is wrong. `wrong`: what is, in words."""

    ok: bool
    wrong: list[str]
    version: str
    replica: str
    up_seconds: float
    store: StoreHealth
    namespaces: int
    agents: int
    streams: int
    sources: dict[str, str]


def summary(version: Version) -> Summary:
    return Summary(*_head(version))


def stored(version: Version) -> Stored:
    return Stored(*_head(version), *_content(version))


def changed(version: Version, preview: Json | None) -> Changed:
    return Changed(*_head(version), *_content(version), preview)


def _head(version: Version) -> tuple[str, int, str, float, str, str, bool]:
    gone = version.content is None
    return version.namespace, version.number, version.etag, version.at, version.who, version.why, gone


def _content(version: Version) -> tuple[str | None, str | None]:
    content = version.content
    return (None, None) if content is None else (content.dtab, content.policies)
