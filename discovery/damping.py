"""An endpoint that comes and goes many times a second is told of once a second at most. Pure: time is given.

Bad news passes at once: an endpoint that is gone, unhealthy or draining gets no traffic a moment longer. Good news of
it has to last: it comes back when it has not been lost again for `seconds`. Another weight or zone passes at once too,
and then not again for `seconds`. Endpoints that are steady are not held up by one that is not, and where nothing else
serves, nothing is held up.
"""

from __future__ import annotations

from discovery.address import Addr, Bound, Endpoint, bound
from discovery.holding import endpoints

_Key = tuple[str, int]


class Damping:
    __slots__ = ("_changed", "_lost", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lost: dict[_Key, float] = {}
        self._changed: dict[_Key, float] = {}

    def __bool__(self) -> bool:
        """Whether anything is remembered."""
        return bool(self._lost or self._changed)

    def heard(self, before: Addr, read: Addr, now: float) -> None:
        """Two truths, one after the other, as the source stated them."""
        after = {endpoint.key: endpoint for endpoint in endpoints(read)}
        for endpoint in endpoints(before):
            later = after.get(endpoint.key)
            if endpoint.serves and (later is None or not later.serves):
                self._lost[endpoint.key] = now

    def passed(self, published: Addr, read: Addr, now: float) -> tuple[Addr, float | None]:
        """What may be published, and when there is more of it: None when it is all that was read."""
        for times in (self._lost, self._changed):
            for key in [key for key, at in times.items() if now >= at + self._seconds]:
                del times[key]
        if not (self._lost or self._changed) and not isinstance(published, Bound):
            return read, None
        before = {endpoint.key: endpoint for endpoint in endpoints(published)}
        kept: list[Endpoint] = []
        due: list[float] = []
        for endpoint in endpoints(read):
            held_until = self._held_until(before.get(endpoint.key), endpoint, now)
            if held_until is None:
                kept.append(endpoint)
                continue
            due.append(held_until)
            if endpoint.key in before:
                kept.append(before[endpoint.key])
        if not due or (not any(each.serves for each in kept) and any(each.serves for each in endpoints(read))):
            # An endpoint that may vanish again is better than none.
            return read, None
        return bound(kept), min(due)

    def _held_until(self, before: Endpoint | None, read: Endpoint, now: float) -> float | None:
        if before == read:
            return None
        if before is None or not before.serves:
            # Also one that is listed again and does not serve: that it has gone is told already.
            lost = self._lost.get(read.key)
            return None if lost is None else lost + self._seconds
        if not read.serves:
            return None
        changed = self._changed.get(read.key)
        if changed is not None:
            return changed + self._seconds
        self._changed[read.key] = now
        return None
