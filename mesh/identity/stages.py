"""A root that is replaced, step by step, so that nobody ever meets a certificate that it does not trust. Pure.

    prepare    the new root is trusted beside the old one, which still signs
    activate   the new one signs; the old one is still trusted
    retire     the old one is not trusted any more

Between two steps everybody must have heard of the first: the new root has to be in every bundle before it signs, and
what the old one has signed last has to have expired before it goes. A step too early is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

Step = Literal["prepare", "activate", "retire"]
SPREAD: Final = timedelta(hours=24)
"""Until a bundle is everywhere, where nobody can tell whether it is: as long as a leaf lives."""


class TooEarly(Exception):
    """The text says what comes first, and when it is time."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Generations count from 1. `signing`: the one that signs; `trusted`: those in the bundle, the oldest first.
    `since`: when the last step was made. `leaf`: how long at most a leaf lives that was signed."""

    signing: int
    trusted: tuple[int, ...]
    since: datetime
    leaf: timedelta = timedelta(0)

    @property
    def newest(self) -> int:
        return self.trusted[-1]

    @property
    def next(self) -> Step:
        if len(self.trusted) == 1:
            return "prepare"
        return "retire" if self.signing == self.newest else "activate"

    def due(self, spread: timedelta = SPREAD) -> datetime:
        """When the next step may be made."""
        match self.next:
            case "prepare":
                return self.since
            case "activate":
                return self.since + spread
            case "retire":
                return self.since + max(self.leaf, spread)

    def issued(self, lifetime: timedelta) -> Stage:
        """A leaf that lives so long has been signed."""
        return self if lifetime <= self.leaf else replace(self, leaf=lifetime)

    def step(self, step: Step, now: datetime, spread: timedelta = SPREAD) -> Stage:
        """Raises TooEarly."""
        if step != self.next:
            raise TooEarly(f"{step} is not the next step, {self.next} is{_BEFORE[self.next]}")
        if now < (due := self.due(spread)):
            raise TooEarly(f"{step} is due at {due:%Y-%m-%d %H:%M} UTC: {_WHY[step]}")
        match step:
            case "prepare":
                return Stage(self.signing, (*self.trusted, self.newest + 1), now, self.leaf)
            case "activate":
                return Stage(self.newest, self.trusted, now, self.leaf)
            case "retire":
                return Stage(self.signing, (self.newest,), now, self.leaf)


_BEFORE: dict[Step, str] = {
    "prepare": ": one root is trusted, and there is no other",
    "activate": ": the new root is trusted and does not sign yet",
    "retire": ": the new root signs and the old one is still trusted",
}
_WHY: dict[Step, str] = {
    "prepare": "",
    "activate": "before, not everybody may trust what the new root signs",
    "retire": "before, there may be certificates that the old root has signed",
}
