"""What the server says about its streams: for `tieline status`, and for explain ("does this proxy have it")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mesh.xds.events import Nack


class Standing(Enum):
    """How one proxy stands to one resource."""

    UNWANTED = "not subscribed"
    WAITING = "not acknowledged yet"
    APPLIED = "applied"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Holding:
    """`nack` is there when the standing is REFUSED."""

    stream: int
    node: str
    standing: Standing
    nack: Nack | None


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """One type on one stream. Ages are in seconds; None: never, or nothing is in flight."""

    type_url: str
    held: int
    waiting: int
    unclaimed: int
    responses: int
    acked: int
    refused: int
    rejected: tuple[str, ...]
    last_ack_age: float | None
    in_flight_age: float | None


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """`connected_at` is in seconds since the epoch."""

    number: int
    node: str
    connected_at: float
    types: tuple[TypeStatus, ...]
