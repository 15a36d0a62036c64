"""What a name is known to lead to: endpoints, addresses, and how sure we are of them. Pure values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Health(Enum):
    """As Envoy's `core.v3.HealthStatus` reads it. UNKNOWN gets traffic, DRAINING keeps what it has and gets no more."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


class Protocol(Enum):
    """What an endpoint speaks, where its platform says so."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"


PROTOCOLS = {
    "http": Protocol.HTTP1,
    "http/1.1": Protocol.HTTP1,
    "http1": Protocol.HTTP1,
    "http2": Protocol.HTTP2,
    "h2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "tcp": Protocol.TCP,
}
"""As people write them in labels and metadata, in small letters."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to send a request to. `address` is an IP literal: names are resolved where they are observed."""

    address: str
    port: int
    weight: float = 1.0
    zone: str = ""
    health: Health = Health.UNKNOWN
    host: str = ""
    protocol: Protocol | None = None
    identity: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    origin: str = ""
    """What its platform calls it: a Consul service id, a container's name, a task's ARN, a pod."""

    @property
    def key(self) -> tuple[str, int]:
        return self.address, self.port

    @property
    def serves(self) -> bool:
        """Whether it may get traffic: not unhealthy, not draining, not of weight 0."""
        return self.weight > 0 and (self.health is Health.UNKNOWN or self.health is Health.HEALTHY)


@dataclass(frozen=True, slots=True)
class Bound:
    """The name exists. With no endpoints it still exists: that is not `Neg`.

    Build it with `bound()`, so that equal sets are equal values whatever order the platform listed them in.
    """

    endpoints: tuple[Endpoint, ...] = ()

    @property
    def protocol(self) -> Protocol | None:
        """What all endpoints say they speak; None where they don't say, or don't agree."""
        said = {endpoint.protocol for endpoint in self.endpoints}
        return said.pop() if len(said) == 1 else None


@dataclass(frozen=True, slots=True)
class Neg:
    """There is no such name."""


Addr = Bound | Neg


def bound(endpoints: Iterable[Endpoint]) -> Bound:
    """Sorted, one endpoint per address and port (the last one listed)."""
    unique = {endpoint.key: endpoint for endpoint in endpoints}
    return Bound(tuple(unique[key] for key in sorted(unique)))


@dataclass(frozen=True, slots=True)
class Pending:
    """Not answered yet. `reason`: what went wrong so far, if anything did."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """`addr` was stated by the source at `since` and last confirmed at `confirmed_at` (seconds since the epoch).

    `held`: why this is the last known good and not the present truth; None when it is fresh. `lost`: what the source
    says now, twice read: `addr` is kept for a while as a last resort, for names that have nothing else.
    """

    addr: Addr
    since: float
    confirmed_at: float
    held: str | None = None
    lost: Addr | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Never answered, for longer than the bind timeout. Not `Neg`: we do not know."""

    reason: str


State = Pending | Known | Failed
