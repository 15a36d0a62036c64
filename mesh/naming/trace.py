"""What binding a name did, step by step: the walk that routes, kept so that it can be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from discovery.path import Path
from mesh.naming.dtab import Dentry
from mesh.naming.tree import BoundName


class Grade(Enum):
    """What came of a step. LIVE, LOST, DEAD, EMPTY, NEG and FAIL are answers; the others are not."""

    LIVE = "live"
    """At least one name with an endpoint."""
    LOST = "lost"
    """The names have endpoints that their sources say are gone: better than nothing."""
    DEAD = "dead"
    """The names exist and are known to have no endpoint."""
    EMPTY = "empty"
    """`$`, decided by the table."""
    NEG = "neg"
    FAIL = "fail"
    WAITING = "waiting"
    BROKEN = "broken"


class Kind(Enum):
    LOOKUP = "lookup"
    """A path was looked up. It has one step after it, or none when a name was found or there was nothing."""
    ALT = "alt"
    UNION = "union"
    WRITTEN = "written"
    """`~`, `!` or `$`, as the table says."""


@dataclass(frozen=True, slots=True)
class Missing:
    """`~`, and why."""

    reason: str


@dataclass(slots=True, eq=False)
class Step:
    """Filled in by the walk, not changed after it. `path`: what was looked up, or where the tree came from."""

    kind: Kind
    path: Path
    dentry: Dentry | None
    """The dentry that led here."""
    grade: Grade | None = None
    """None: another step decides it (a lookup's only one), or the walk did not come so far."""
    name: BoundName | None = None
    reason: str = ""
    steps: list[Step] = field(default_factory=list)
    weights: tuple[float, ...] = ()
    chosen: int | None = None
    """The alternative that won."""

    @property
    def outcome(self) -> Grade | None:
        """Follows the chain of lookups to the step that decided."""
        return self.last.grade

    @property
    def last(self) -> Step:
        step = self
        while step.grade is None and step.kind is Kind.LOOKUP and step.steps:
            step = step.steps[-1]
        return step

    def all(self) -> Iterator[Step]:
        """Itself and every step below, in no order that means something."""
        open_steps = [self]
        while open_steps:
            step = open_steps.pop()
            yield step
            open_steps += step.steps
