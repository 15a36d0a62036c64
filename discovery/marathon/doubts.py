"""When all has to be read because an event did not say what has changed. Pure: time is given.

Whoever changes an app by the API changes a group, too, and Marathon tells of both, in either order. Such a change of a
group is explained: only what is not costs a full read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

QUIET_SECONDS = 1.0
"""How long what explains an event, or other events like it, may follow."""
POSTED_SECONDS = 3.0
"""How long a change of an app by the API explains one of a group that follows."""


@dataclass(slots=True)
class Doubts:
    not_before: float = 0.0
    """So that full reads do not take all of our time."""
    due: float | None = None
    _is_certain: bool = False
    _unexplained: int = 0
    _posts: list[float] = field(default_factory=list)

    def anything(self, now: float) -> None:
        self._is_certain = True
        self._schedule(now)

    def regrouped(self, now: float) -> None:
        self._posts = [at for at in self._posts if now - at <= POSTED_SECONDS]
        if self._posts:
            del self._posts[0]
            return
        self._unexplained += 1
        self._schedule(now)

    def posted(self, now: float) -> None:
        if not self._unexplained:
            self._posts = [*(at for at in self._posts if now - at <= POSTED_SECONDS), now]
            return
        self._unexplained -= 1
        if not self._unexplained and not self._is_certain:
            self.due = None

    def dispel(self) -> None:
        """All is being read."""
        self.due, self._is_certain, self._unexplained = None, False, 0

    def _schedule(self, now: float) -> None:
        if self.due is None:
            self.due = max(now + QUIET_SECONDS, self.not_before)
