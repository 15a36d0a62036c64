"""How long to wait before asking again."""

from __future__ import annotations

import random
from dataclasses import dataclass

_DOUBLINGS = 32


@dataclass(frozen=True, slots=True)
class Backoff:
    """From `first` seconds, doubling, to `most`. The upper half of each delay is drawn, so that askers drift apart."""

    first: float = 0.1
    most: float = 5.0

    def ceiling(self, failures: int) -> float:
        """The longest delay after this many earlier failures in a row."""
        return min(self.most, self.first * 2.0 ** min(failures, _DOUBLINGS))

    def delay(self, failures: int, rng: random.Random) -> float:
        return self.ceiling(failures) * rng.uniform(0.5, 1.0)
