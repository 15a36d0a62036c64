"""All that a policy can set, with the defaults that hold for every name. What is not written does not count as set."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from mesh.config.fields import Flag, Section
from mesh.policy.balancing import Balancing, HealthCheck
from mesh.policy.mirroring import Mirror
from mesh.policy.resilience import Ejection, Limits, Retries, Timeout
from mesh.policy.rewriting import Redirect, Rewrite
from mesh.policy.shaping import Fault, HeaderChanges, RateLimit
from mesh.policy.tls import Tls


class Settings(Section):
    timeout: Timeout = Field(default_factory=Timeout)
    """How long things may take."""
    retries: Retries = Field(default_factory=Retries)
    """When a request is sent again."""
    limits: Limits = Field(default_factory=Limits)
    """Circuit breakers: how much at once, per bound name and proxy."""
    ejection: Ejection | None = Field(default_factory=Ejection)
    """When an endpoint that fails gets no requests for a while. null: never."""
    balancing: Balancing = Field(default_factory=Balancing)
    """How endpoints share the requests."""
    failover: Flag = Field(default=False, examples=[True])
    """While no endpoint of what `|` chose can serve, the next alternative does; a retry may go there, too."""
    health_check: HealthCheck | None = Field(default=None)
    """The proxy asks endpoints for their health. null: their sources and their answers tell."""
    tls: Tls | None = Field(default=None)
    """The proxy speaks TLS to the endpoints. null: as they are, without."""
    fault: Fault | None = Field(default=None)
    """Delays and errors made on purpose, to see how callers bear them. null: none."""
    rate_limit: RateLimit | None = Field(default=None)
    """How many requests in a time, per name and proxy. null: any number."""
    headers: HeaderChanges = Field(default_factory=HeaderChanges)
    """Headers to set, add and remove."""
    rewrite: Rewrite | None = Field(default=None)
    """Another path, another Host for the service. null: what the caller says."""
    redirect: Redirect | None = Field(default=None)
    """Callers are sent elsewhere. null: they are not."""
    mirror: Annotated[tuple[Mirror, ...], Field(max_length=10)] = Field(default=())
    """Who gets copies of the requests, at most 10; their answers are thrown away."""


DEFAULTS: Final = Settings()
_OF_BOUND_NAMES: Final = ("timeout.connect", "retries.budget", "limits", "ejection", "balancing", "health_check", "tls")
_OF_ROUTES: Final = ("balancing.hash_on",)


def is_of_bound_names(key: str) -> bool:
    """Whether it becomes part of a cluster, so that it may also be said of what a name leads to."""
    return _begins(key, _OF_BOUND_NAMES) and not _begins(key, _OF_ROUTES)


def _begins(key: str, keys: tuple[str, ...]) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in keys)
