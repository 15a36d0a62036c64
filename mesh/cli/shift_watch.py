"""Watches the names that a shift moves: how many of their requests have failed, as agents report them.

An agent reports its counts every 10 s. So for that long after a step a count may still hold requests from before it:
these can't show that the step is good, though failures among them count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeVar

from mesh.cli import replicas
from mesh.cli.answer import Answer, count, entries, text
from mesh.cli.control_client import ControlPlane, Denied, Unreachable

SETTLED_SECONDS = 11.0
POLL_SECONDS = 2.0
MOST_ASKED = 4000
"""Characters of names in a question; of more, all are asked for."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Counts:
    requests: int = 0
    failures: int = 0

    @property
    def success(self) -> float | None:
        """From 0 to 1. None: there was no request."""
        return 1 - self.failures / self.requests if self.requests else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.requests + other.requests, self.failures + other.failures)

    def since(self, earlier: Counts) -> Counts:
        """A control plane that started anew counts from 0."""
        if self.requests < earlier.requests or self.failures < earlier.failures:
            return self
        return Counts(self.requests - earlier.requests, self.failures - earlier.failures)


class Verdict(Enum):
    GOOD = auto()
    WAIT = auto()
    BAD = auto()


@dataclass(slots=True)
class Judging:
    """One step. `below`: the success rate from 0 to 1 under which it is bad, told from `least` requests on."""

    below: float
    least: int
    every: float
    last: Mapping[str, Counts]
    """By replica: agents that go to another are counted there from then on."""
    all: Counts = field(default_factory=Counts)
    """Since the step."""
    settled: Counts = field(default_factory=Counts)
    """Since every agent has reported what was before it."""

    def judge(self, now: Mapping[str, Counts], seconds: float) -> Verdict:
        """`seconds` since the step."""
        more = sum((counts.since(self.last.get(replica, counts)) for replica, counts in now.items()), Counts())
        self.last = {**self.last, **now}
        self.all += more
        if seconds > SETTLED_SECONDS + POLL_SECONDS:
            self.settled += more
        if any(self._is_bad(each) for each in (self.all, self.settled)):
            return Verdict.BAD
        enough = self.settled.requests >= self.least and seconds >= self.every
        return Verdict.GOOD if enough else Verdict.WAIT

    def _is_bad(self, counts: Counts) -> bool:
        success = counts.success
        return success is not None and counts.requests >= self.least and success < self.below


def counts(plane: ControlPlane, names: Iterable[str]) -> dict[str, Counts]:
    """Of these names on all routers and agents, by replica. One that can't be asked is left away."""
    wanted = set(names)
    only = ",".join(sorted(wanted))
    asked = replicas.ask(plane, plane.within("names"), only=only if len(only) <= MOST_ASKED else None)
    return {where: _counted(entries(answer, "names"), wanted) for where, answer in asked.answers.items()}


def _counted(rows: Iterable[Answer], wanted: Collection[str]) -> Counts:
    counted = (Counts(count(row, "requests"), count(row, "failures")) for row in rows if text(row, "name") in wanted)
    return sum(counted, Counts())


def patiently(ask: Callable[[], T], told: Callable[[str], None]) -> T:
    """Asks again until the control plane can answer; `told` once why it can't."""
    silent = False
    while True:
        try:
            return ask()
        except Unreachable as error:
            reason = str(error)
        except Denied as error:
            if error.status < 500:
                raise
            reason = str(error)
        if not silent:
            told(reason)
            silent = True
        time.sleep(POLL_SECONDS)
