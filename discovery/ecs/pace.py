"""How often a cluster is read. Pure.

A cluster that changes is read every `least` seconds; one that does not, ever more seldom, up to `most`.
"""

from __future__ import annotations

from dataclasses import dataclass

_GROWTH = 1.5


@dataclass(slots=True)
class Pace:
    least: float
    most: float
    seconds: float = 0.0

    def after(self, *, changed: bool) -> float:
        """From the beginning of the read that has ended to that of the next one."""
        self.seconds = self.least if changed or not self.seconds else min(self.most, self.seconds * _GROWTH)
        return self.seconds
