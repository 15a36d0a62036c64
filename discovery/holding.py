"""Whether a truth is too bad to be believed at once. Pure.

A platform that restarts, loses its leader or filters by a new rule often states an empty or a half list that is
perfectly valid. So the loss of everything, or of more than half of the endpoints at once, waits for a second full read.
A replacement that keeps the count is no loss.
"""

from __future__ import annotations

from discovery.address import Addr, Bound, Endpoint, bound


def endpoints(addr: Addr) -> tuple[Endpoint, ...]:
    return addr.endpoints if isinstance(addr, Bound) else ()


def is_mass_loss(held: Addr, read: Addr) -> bool:
    before, after = len(endpoints(held)), len(endpoints(read))
    return before > 0 and (after == 0 or after < before / 2)


def merged(held: Addr, read: Addr) -> Addr:
    """What is held, and what the read adds: new endpoints serve at once, known ones take their new weight."""
    fresh = endpoints(read)
    return bound((*endpoints(held), *fresh)) if fresh else held


def serves(addr: Addr) -> bool:
    return any(endpoint.serves for endpoint in endpoints(addr))


def vanished(read: Addr) -> str:
    return "all endpoints vanished" if isinstance(read, Bound) else "the name vanished"


def gone(held: Addr, read: Addr) -> str:
    before, after = endpoints(held), {endpoint.key for endpoint in endpoints(read)}
    count = sum(endpoint.key not in after for endpoint in before)
    return f"{count} of {len(before)} endpoints vanished at once" if isinstance(read, Bound) else vanished(read)


def loss(held: Addr, read: Addr, confirm_after: float) -> str:
    return f"{gone(held, read)}; waiting {confirm_after:g} s for a second full read"
