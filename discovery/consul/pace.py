"""How often one name may be asked for. Pure: time is given.

An answer that brought news costs little, one that did not costs much: a busy service is followed as fast as it changes,
a server that answers at once for no reason (an index that jumps, somebody else's change) is asked twice a second.
"""

from __future__ import annotations

from dataclasses import dataclass

NEWS, NO_NEWS = 1.0, 100.0
_PER_SECOND = 200.0
_MOST = 4 * NO_NEWS


@dataclass(slots=True)
class Pace:
    credit: float = _MOST
    at: float = 0.0

    def pause(self, price: float, now: float) -> float:
        """The seconds to wait before the next question."""
        self.credit = min(_MOST, self.credit + (now - self.at) * _PER_SECOND) - price
        self.at = now
        return max(0.0, -self.credit / _PER_SECOND)
