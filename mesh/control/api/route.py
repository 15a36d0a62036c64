"""A route: method, path, who may use it, what it takes and what it answers. Everything else is derived from these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from mesh.control.access import Caller
from mesh.control.api.recording import Recording
from mesh.control.grants import Role

JSON = "application/json"


class Shape(BaseModel):
    """What a caller sends: other keys than these are refused with their name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Lenient(BaseModel):
    """Namerd's queries: what is not known is ignored, as there."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class NoQuery(Shape):
    pass


class NoBody(Shape):
    pass


Query = TypeVar("Query", bound=BaseModel)
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked(Generic[Query, Body]):
    """A request that is understood and permitted. `recording`: of the attempt, where the route changes something."""

    caller: Caller
    query: Query
    body: Body
    recording: Recording
    request: web.Request

    @property
    def namespace(self) -> str:
        return self.request.match_info["namespace"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`value`: JSON-able, or a dataclass of such; None with a status that has no body."""

    value: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """`more`: what the JSON says beside `error`."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None, **more: object) -> None:
        super().__init__(text)
        self.status, self.more, self.headers = status, more, headers or {}

    @property
    def answer(self) -> Answer:
        return Answer({"error": str(self), **self.more}, self.status, self.headers)


Reply = Answer | web.StreamResponse


@dataclass(frozen=True, slots=True)
class Plain:
    """An answer that is no JSON value: text, lines, a stream, or nothing."""

    content: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Takes:
    """A body that the route reads itself."""

    content: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route(Generic[Query, Body]):
    """`path`: `{namespace}` and the like stand for one segment. `role` None: everybody may. `answers`: shapes by
    status, without the errors that every route has. `takes`: where the body is not `body` as JSON."""

    method: Literal["GET", "PUT", "POST", "DELETE", "HEAD", "*"]
    path: str
    role: Role | None
    summary: str
    answer: Callable[[Asked[Query, Body]], Awaitable[Reply]]
    query: type[Query]
    body: type[Body]
    answers: Mapping[int, Any]
    takes: Takes | None = None
    changes: bool = False

    @property
    def has_body(self) -> bool:
        return self.body is not NoBody


AnyRoute = Route[Any, Any]


def read(
    path: str,
    summary: str,
    answer: Callable[[Asked[Query, NoBody]], Awaitable[Reply]],
    shape: object,
    query: type[Query],
    *statuses: int,
) -> Route[Query, NoBody]:
    """A GET that needs the role `read`. `statuses`: what else it answers, without a body or with an error."""
    answers = {200: shape, **{status: Error if status >= 400 else None for status in statuses}}
    return Route("GET", path, Role.READ, summary, answer, query, NoBody, answers)


@dataclass(frozen=True, slots=True)
class Error:
    """What went wrong, and what to do about it."""

    error: str
