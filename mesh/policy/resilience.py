"""Time, retries, limits, ejection: what holds when a service is slow, broken or overrun.

Source of the mechanisms: Envoy, config.route.v3.RetryPolicy, config.cluster.v3.CircuitBreakers and OutlierDetection.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mesh.config.fields import Count, Flag, Percent, Section, Time, Whole

Unsent = Literal["connect-failure", "refused-stream", "reset-before-request"]
Http = Literal["reset", "gateway-error", "5xx", "retriable-4xx"]
Grpc = Literal["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"]
Condition = Literal[Unsent, Http, Grpc]
UNSENT: tuple[Unsent, ...] = ("connect-failure", "refused-stream", "reset-before-request")
"""The service cannot have begun to work: safe for every method."""
GRPC: tuple[Grpc, ...] = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
Method = Annotated[str, Field(pattern=r"^[A-Z]+$")]


class Timeout(Section):
    request: Time | None = Field(default=15.0, examples=["15s"])
    """From the end of the request to the end of the answer, retries included: then 504. null: none."""
    per_try: Time | None = Field(default=None, examples=["2s"])
    """How long one attempt may take before another endpoint is tried, within `request`. null: no limit of its own."""
    grpc: Time | None = Field(default=None, examples=["30s"])
    """The longest that a gRPC call may take; `grpc-timeout` can only shorten it. null: as the caller says."""
    deadline: Flag = Field(default=False, examples=[True])
    """Requests carry a deadline (`l5d-ctx-deadline`) from hop to hop, and take no longer than it says."""
    idle: Time | None = Field(default=None, examples=["1h"])
    """How long a request or connection may be silent in both directions. null: for ever; 1h for strangers."""
    connect: Time = Field(default=1.0, examples=["1s"])
    """How long it may take to open a connection to an endpoint."""


class Backoff(Section):
    base: Time = Field(default=0.005, examples=["5ms"])
    """The pause before the first retry is up to this; before each further one up to twice as long."""
    max: Time = Field(default=0.05, examples=["50ms"])
    """The longest pause."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.base:
            raise ValueError(f"`max` ({self.max:g}s) is shorter than `base` ({self.base:g}s)")
        return self


class Budget(Section):
    percent: Annotated[float, Field(strict=True, gt=0, le=100)] = Field(default=20.0, examples=[20])
    """Retries under way may be this share of the requests under way."""
    floor: Whole = Field(default=100, examples=[100])
    """So many retries at once are always allowed, else a service with little traffic could never retry."""


class Retries(Section):
    conditions: tuple[Condition, ...] = Field(default=UNSENT, examples=["[connect-failure, gateway-error]"])
    """After what a request is sent again."""
    statuses: tuple[Annotated[int, Field(strict=True, ge=400, le=599)], ...] = Field(default=(), examples=["[503]"])
    """Answers with these statuses are retried, too."""
    methods: tuple[Method, ...] = Field(
        default=("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"), examples=["[GET, HEAD, POST]"]
    )
    """Which methods may be sent again although the service may have begun to work. The default: the idempotent ones."""
    num_retries: Whole = Field(default=2, examples=[2])
    """How often at most; 0: never."""
    backoff: Backoff = Field(default_factory=Backoff)
    """How long to wait before each."""
    budget: Budget = Field(default_factory=Budget)
    """How many retries a service may get at once, whoever sends them."""


class Limits(Section):
    connections: Count = Field(default=4096, examples=[4096])
    """Connections to the bound name's endpoints. Beyond: requests wait."""
    pending: Count = Field(default=4096, examples=[4096])
    """Requests that wait for a connection. Beyond: 503 at once."""
    requests: Count = Field(default=4096, examples=[4096])
    """Requests under way. Beyond: 503 at once."""


class SuccessRate(Section):
    stdev_factor: Annotated[float, Field(strict=True, gt=0)] = Field(default=1.9, examples=[1.9])
    """Ejected is who lies this many standard deviations below the mean of all."""
    minimum_hosts: Count = Field(default=5, examples=[5])
    """With fewer endpoints to compare nobody is ejected."""
    request_volume: Count = Field(default=100, examples=[100])
    """Who had fewer requests in the interval is not judged."""


class Ejection(Section):
    gateway_failures: Count | None = Field(default=5, examples=[5])
    """So many answers 502, 503 or 504 in a row eject an endpoint. null: never."""
    local_failures: Count | None = Field(default=5, examples=[5])
    """So many failures in a row to connect or to get an answer in time eject an endpoint. null: never."""
    consecutive_5xx: Count | None = Field(default=None, examples=[5])
    """So many answers of 500 to 599 in a row eject an endpoint. null: an application's own errors are answers."""
    success_rate: SuccessRate | None = Field(default=None)
    """Ejects an endpoint that answers much worse than the others. null: never."""
    interval: Time = Field(default=10.0, examples=["10s"])
    """How often success rates are compared, and how often is looked whether an ejected endpoint may come back."""
    base_time: Time = Field(default=5.0, examples=["5s"])
    """How long the first ejection lasts; the second twice, and so on."""
    max_time: Time = Field(default=60.0, examples=["60s"])
    """The longest ejection."""
    max_share: Percent | None = Field(default=None, examples=[50])
    """So much of the endpoints is ejected at most, in percent. null: 50, or 100 where others stand by (`failover`)."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_time < self.base_time:
            raise ValueError(f"`max_time` ({self.max_time:g}s) is shorter than `base_time` ({self.base_time:g}s)")
        return self
