"""How the endpoints of a bound name share its requests, and how Envoy finds out that one is sick.

Source of the mechanisms: Envoy, config.cluster.v3.Cluster, config.core.v3.HealthCheck.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mesh.config.fields import Count, Flag, Labels, LabelTexts, Percent, Section, Time
from mesh.policy.headers import HEADER


class HashOn(Section):
    """Exactly one of `header`, `cookie`, `source`."""

    header: Annotated[str, Field(pattern=HEADER)] | None = Field(default=None, examples=["x-user"])
    """The value of this header."""
    cookie: Annotated[str, Field(pattern=HEADER)] | None = Field(default=None, examples=["session"])
    """The value of this cookie; made, if the request has none and `ttl` is given."""
    ttl: Time | None = Field(default=None, examples=["1h"])
    """How long a cookie made by the proxy lives."""
    source: Flag = Field(default=False, examples=[True])
    """The caller's address."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.header is not None) + (self.cookie is not None) + self.source != 1:
            raise ValueError("exactly one of `header`, `cookie` and `source: true` expected")
        if self.ttl is not None and self.cookie is None:
            raise ValueError("`ttl` belongs to a `cookie`")
        return self


class SlowStart(Section):
    window: Time = Field(default=30.0, examples=["30s"])
    """For this long the share of a new endpoint grows from little to its own."""
    aggression: Annotated[float, Field(strict=True, gt=0)] = Field(default=1.0, examples=[1.0])
    """1: it grows evenly; more: faster at the beginning."""


class Balancing(Section):
    policy: Literal["least_request", "round_robin", "random", "ring_hash", "maglev"] = Field(
        default="least_request", examples=["least_request"]
    )
    """Who gets the next request. `ring_hash` and `maglev`: always the same endpoint for equal `hash_on`."""
    choices: Annotated[int, Field(strict=True, ge=2, le=100)] = Field(default=4, examples=[4])
    """`least_request`: the least busy of so many drawn at random."""
    hash_on: tuple[HashOn, ...] = Field(default=(), examples=["[{header: x-user}]"])
    """What decides for `ring_hash` and `maglev`: the first of these that the request has."""
    slow_start: SlowStart | None = Field(default=None)
    """A new endpoint gets its full share after a while only. null: at once."""
    prefer_zone: Flag = Field(default=False, examples=[True])
    """Endpoints of the agent's own `zone` first; others as far as these are not enough."""
    subset: LabelTexts = Field(default=Labels(), examples=["{version: v2}"])
    """Only endpoints that their source describes so (metadata, labels). Without: all."""
    panic_threshold: Percent = Field(default=0.0, examples=[0])
    """With less than this percentage of healthy endpoints, all get requests. 0: never one that is known to be sick."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        hashes = self.policy in ("ring_hash", "maglev")
        if self.hash_on and not hashes:
            raise ValueError(f"`hash_on` needs `policy: ring_hash` or `maglev`, not {self.policy}")
        if self.slow_start and self.policy not in ("least_request", "round_robin"):
            raise ValueError(f"`slow_start` needs `policy: least_request` or `round_robin`, not {self.policy}")
        return self


class HealthCheck(Section):
    protocol: Literal["http", "grpc", "tcp"] = Field(default="http", examples=["http"])
    """`http`: GET `path` is answered with 200; `grpc`: grpc.health.v1 says SERVING; `tcp`: a connection is taken."""
    path: Annotated[str, Field(pattern="^/")] = Field(default="/health", examples=["/health"])
    """`http`: what is asked for."""
    interval: Time = Field(default=5.0, examples=["5s"])
    """How often each proxy asks each endpoint of a name in use."""
    timeout: Time = Field(default=1.0, examples=["1s"])
    """An answer that takes longer is none."""
    unhealthy_after: Count = Field(default=3, examples=[3])
    """So many failures in a row make an endpoint sick."""
    healthy_after: Count = Field(default=2, examples=[2])
    """So many successes in a row make it well again; a new endpoint is well after the first."""
