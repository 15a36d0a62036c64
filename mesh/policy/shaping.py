"""What the proxy does to the requests of a name on their way: injected faults, rate limits, headers.

Source of the mechanisms: Envoy, extensions.filters.http.fault and local_ratelimit.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, field_validator, model_validator

from mesh.config.fields import Percent, Section, Time
from mesh.policy.headers import HeaderName, Headers, HeaderTexts, refuse

DAY: Final = 86400.0
MOST_TOKENS: Final = 10**9
Tokens = Annotated[int, Field(strict=True, ge=1, le=MOST_TOKENS)]


class Delay(Section):
    fixed: Annotated[Time, Field(ge=0.001, le=DAY)] = Field(examples=["200ms"])
    """How long a request waits before it is sent on, 1 ms to 24 h."""
    percent: Percent = Field(default=100.0, examples=[10])
    """What share of the requests waits."""


class Abort(Section):
    """`status`, `grpc_status` or both."""

    status: Annotated[int, Field(strict=True, ge=400, le=599)] | None = Field(default=None, examples=[503])
    """What a request is answered with, instead of being sent on."""
    grpc_status: Annotated[int, Field(strict=True, ge=1, le=16)] | None = Field(default=None, examples=[14])
    """What a gRPC call is answered with; it alone if there is no `status`. null: what corresponds to `status`."""
    percent: Percent = Field(default=100.0, examples=[5])
    """What share of the requests is answered so."""

    @model_validator(mode="after")
    def _says(self) -> Self:
        if self.status is None and self.grpc_status is None:
            raise ValueError("`status`, `grpc_status` or both expected")
        return self


class Fault(Section):
    delay: Delay | None = Field(default=None)
    """Requests wait. null: none."""
    abort: Abort | None = Field(default=None)
    """Requests fail. null: none."""
    headers: HeaderTexts = Field(default=Headers(), examples=["{x-test: '1'}"])
    """Only requests that have all these headers. Without: all."""

    @model_validator(mode="after")
    def _does(self) -> Self:
        if self.delay is None and self.abort is None:
            raise ValueError("`delay`, `abort` or both expected")
        return self


class RateLimit(Section):
    requests: Tokens = Field(examples=[100])
    """So many requests `per` time, evenly; beyond: 429 at once."""
    per: Annotated[Time, Field(ge=0.05, le=DAY)] = Field(default=1.0, examples=["1s"])
    """The time, 50 ms to 24 h."""
    burst: Tokens | None = Field(default=None, examples=[200])
    """So many at once, after a time with fewer. null: as many as `requests`."""
    headers: HeaderTexts = Field(default=Headers(), examples=["{x-tenant: big}"])
    """Only requests that have all these headers are counted and limited. Without: all."""


class Change(Section):
    """Removed first, then set, then added."""

    envoys_may_go: ClassVar[bool] = False

    set: HeaderTexts = Field(default=Headers(), examples=["{x-env: test}"])
    """Headers, with their values as they are written; whatever had the name is replaced."""
    add: HeaderTexts = Field(default=Headers(), examples=["{via: tieline}"])
    """Headers to add to those of the same name."""
    remove: Annotated[tuple[HeaderName, ...], Field(max_length=100)] = Field(default=(), examples=["[x-debug]"])
    """Headers to take away."""

    @field_validator("set", "add")
    @classmethod
    def _ours_are_not_written(cls, value: Headers) -> Headers:
        for name, _ in value:
            refuse(name)
        return value

    @field_validator("remove")
    @classmethod
    def _ours_stay(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            refuse(name, may_be_envoys=cls.envoys_may_go)
        return value


class ResponseChange(Change):
    envoys_may_go: ClassVar[bool] = True


class HeaderChanges(Section):
    request: Change = Field(default_factory=Change)
    """Of requests, before the service gets them."""
    response: ResponseChange = Field(default_factory=ResponseChange)
    """Of the service's answers, before the caller gets them."""
