"""One connected proxy: its session, and when it last did what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mesh.xds.session import Session
from mesh.xds.status import Holding, StreamStatus, TypeStatus
from mesh.xds.subscription import Subscription


@dataclass(slots=True, eq=False)
class Stream:
    """Times are the event loop's, except `connected_at`."""

    number: int
    session: Session
    connected_at: float
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    node: str = ""
    last_ack: dict[str, float] = field(default_factory=dict)
    # Type -> nonce of the response in flight, and since when.
    in_flight: dict[str, tuple[str, float]] = field(default_factory=dict)

    def stamp(self, now: float) -> None:
        """After a flush: what is in flight, and since when."""
        for type_url, subscription in self.session.subscriptions.items():
            if subscription.flight is None:
                self.in_flight.pop(type_url, None)
            elif self.in_flight.get(type_url, ("", 0.0))[0] != subscription.flight.nonce:
                self.in_flight[type_url] = subscription.flight.nonce, now

    def oldest_flight(self) -> float | None:
        return min((since for _, since in self.in_flight.values()), default=None)

    def holding(self, type_url: str, name: str) -> Holding:
        standing, nack = self.session.standing(type_url, name)
        return Holding(self.number, self.node, standing, nack)

    def status(self, now: float) -> StreamStatus:
        types = tuple(self._type_status(each, now) for each in self.session.subscriptions.values())
        return StreamStatus(self.number, self.node, self.connected_at, types)

    def _type_status(self, subscription: Subscription, now: float) -> TypeStatus:
        acked_at = self.last_ack.get(subscription.type_url)
        flight = self.in_flight.get(subscription.type_url)
        return TypeStatus(
            type_url=subscription.type_url,
            held=len(subscription.have),
            waiting=len(subscription.dirty) + len(subscription.owed) + len(subscription.alone),
            unclaimed=len(subscription.unclaimed),
            responses=subscription.counts.sent,
            acked=subscription.counts.acked,
            refused=subscription.counts.refused,
            rejected=tuple(sorted(subscription.rejected)),
            last_ack_age=None if acked_at is None else now - acked_at,
            in_flight_age=None if flight is None else now - flight[1],
        )
