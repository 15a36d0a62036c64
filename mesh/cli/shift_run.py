"""A shift under way: a step, a look at what it did, and the next; or everything back as it was."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NoReturn

import typer

from mesh.cli import foreseen, shift_watch, versions
from mesh.cli.answer import entries, text
from mesh.cli.changing import problem_lines
from mesh.cli.content_commands import there
from mesh.cli.control_client import ControlPlane, Denied, Unreachable
from mesh.cli.ending import NO, fail
from mesh.cli.options import Format
from mesh.cli.shift_telling import Telling
from mesh.cli.shift_watch import POLL_SECONDS, SETTLED_SECONDS, Judging, Verdict, patiently
from mesh.cli.shifting import WHOLE, NotShiftable, Standing, standing, steps
from mesh.cli.versions import Refused, Version, Written

PAGE = 50


@dataclass(frozen=True, slots=True)
class Order:
    """`step`: in percent. `every`: seconds. `below`: from 0 to 1."""

    name: str
    to: str
    step: float
    every: float
    below: float
    least: int
    why: str

    @property
    def mark(self) -> str:
        """How the reason of each of its versions begins."""
        return f"shift {self.name} to {self.to}: "

    def reason(self, percent: float) -> str:
        return f"{self.mark}{percent:g} %" + (f" ({self.why})" if self.why else "")


@dataclass(slots=True)
class Run:
    """`last`: the version that this run takes to be in force. `base`: the one before the first step."""

    plane: ControlPlane
    order: Order
    telling: Telling
    yes: bool
    standing: Standing
    last: Version
    base: Version
    names: frozenset[str] = frozenset()

    @classmethod
    def begun(cls, plane: ControlPlane, order: Order, telling: Telling, *, yes: bool) -> Run:
        """Goes on where an earlier run of the same order was left."""
        last = there(plane, versions.current(plane))
        stands = _standing(last, order)
        return cls(plane, order, telling, yes, stands, last, base(plane, last, order) if stands.percent else last)

    @property
    def _steps(self) -> list[float]:
        return list(steps(self.standing.percent, self.order.step))

    def foresee(self, *, dry_run: bool) -> None:
        """Shows where it ends, and asks. Ends the command if the first step is refused."""
        whole, first = (self._foreseen(percent) for percent in (WHOLE, self._steps[0]))
        self.names = frozenset({self.order.name, *(text(row, "name") for row in entries(whole.preview, "changed"))})
        if self.telling.output is Format.TABLE:
            plan = ", ".join(f"{percent:g}" for percent in self._steps)
            typer.echo(f"steps: {plan} %, each watched for {self.order.every:g} s or more. At the end:")
            foreseen.print_preview(whole.preview)
        if broken := foreseen.breaks(whole.preview, self.order.name):
            fail(f"{self.order.name} would lead nowhere at the end ({broken}); nothing was changed. Look at --to")
        if not self.yes and (reason := foreseen.refused(first.preview)):
            fail(f"the first step: {reason}")
        if dry_run:
            self.telling.event("planned", "nothing was changed", steps=self._steps, preview=whole.preview)
        elif not self.yes and self.telling.asks and not typer.confirm("Begin?"):
            fail("nothing was changed")

    def to_the_end(self) -> None:
        try:
            for percent in self._steps:
                self._step(percent)
                self._watch(percent)
        except KeyboardInterrupt:
            self._reread()
            self._left("stopped by hand")
        self.telling.event("done", f"{self.order.name} leads to {self.order.to}", version=self.last.number)

    def _step(self, percent: float) -> None:
        content = Written(self.standing.at(percent))
        done = patiently(lambda: self._put(content, self.order.reason(percent)), self._waits)
        if isinstance(done, Refused):
            self._stopped(done, "")
        self.last = done
        self.telling.event(
            "step", f"version {done.number}: {percent:g} % to {self.order.to}", percent=percent, version=done.number
        )

    def _put(self, content: Written, why: str) -> Version | Refused:
        return self._own(versions.put(self.plane, self.last, content, why, yes=self.yes), why)

    def _own(self, done: Version | Refused, why: str) -> Version | Refused:
        """A change that was made, and whose answer got lost, is in the way of its repetition."""
        now = done.current if isinstance(done, Refused) else None
        return now if now and (now.why, now.number) == (why, self.last.number + 1) else done

    def _watch(self, percent: float) -> None:
        """Until the step has proved good; else everything is undone."""
        order, began, said = self.order, time.monotonic(), False
        judging = Judging(order.below, order.least, order.every, patiently(self._counts, self._waits))
        while True:
            self._pause(began)
            self._look()
            seconds = time.monotonic() - began
            verdict = judging.judge(patiently(self._counts, self._waits), seconds)
            counted = judging.settled if judging.settled.requests else judging.all
            state = f"{percent:g} %: {counted.requests} requests, {_rate(counted)}"
            self.telling.live(f"{state}, {seconds:.0f} s")
            if verdict is Verdict.BAD:
                self._undo(f"only {_rate(counted)} of {counted.requests} requests")
            if verdict is Verdict.GOOD:
                self.telling.event("good", state, percent=percent, requests=counted.requests, failures=counted.failures)
                return
            if not said and seconds > max(order.every, SETTLED_SECONDS + POLL_SECONDS):
                said = True
                few = f"waiting: {judging.settled.requests} of {order.least} requests counted"
                self.telling.event("waiting", few, percent=percent, requests=judging.settled.requests)

    def _pause(self, began: float) -> None:
        """To the end of the time, if that is near."""
        rest = self.order.every - (time.monotonic() - began)
        time.sleep(min(POLL_SECONDS, rest) if rest > 0 else POLL_SECONDS)

    def _counts(self) -> dict[str, shift_watch.Counts]:
        return shift_watch.counts(self.plane, self.names)

    def _look(self) -> None:
        now = patiently(lambda: versions.current(self.plane), self._waits)
        if (now.number, now.exists) != (self.last.number, True):
            self._overtaken(now)

    def _waits(self, reason: str) -> None:
        self.telling.event("unreachable", f"{reason}. Waiting for it", reason=reason)

    def _undo(self, reason: str) -> NoReturn:
        why = f"shift {self.order.name} undone: {reason}"
        to = self.base.number
        done = patiently(
            lambda: self._own(versions.roll_back(self.plane, self.last, to, why, yes=True), why), self._waits
        )
        if isinstance(done, Refused):
            self._stopped(done, f"{reason}, and it can't be undone: ")
        line = f"undone: {reason}; version {done.number} is as version {to} was"
        self.telling.event("undone", line, reason=reason, version=done.number)
        raise typer.Exit(NO)

    def _stopped(self, refused: Refused, before: str) -> NoReturn:
        if refused.current is None:
            self._left(f"{before}{refused.reason}")
        self._overtaken(refused.current)

    def _overtaken(self, theirs: Version) -> NoReturn:
        who = f"{theirs.who} has made version {theirs.number}" if theirs.number else "the namespace was deleted"
        line = f"stopped: {who}, which stays in force. Look at it: tieline dtab diff {self.last.number}"
        self.telling.event("overtaken", line, who=theirs.who, version=theirs.number)
        raise typer.Exit(NO)

    def _reread(self) -> None:
        """A step may have been made whose answer nobody waited for."""
        try:
            now = versions.current(self.plane)
        except (Unreachable, Denied):
            return
        if now.why.startswith(self.order.mark):
            self.last = now

    def _left(self, reason: str) -> NoReturn:
        """What stands, and both ways on."""
        stands = _standing(self.last, self.order).percent
        line = f"stopped: {reason}. Version {self.last.number} stands, {stands:g} % to {self.order.to}"
        again, back = "the same command goes on", f"tieline dtab rollback {self.base.number}"
        self.telling.event(
            "stopped", f"{line}; {again}, `{back}` goes back",
            reason=reason, version=self.last.number, percent=stands, back=back,
        )  # fmt: skip
        raise typer.Exit(NO)

    def _foreseen(self, percent: float) -> versions.Foreseen:
        seen = versions.foresee(self.plane, Written(self.standing.at(percent)))
        if seen.problems:
            fail("\n".join(problem_lines(seen.problems, lambda _: "the table as it would be")))
        return seen


def _standing(now: Version, order: Order) -> Standing:
    from discovery.path import Path
    from mesh.naming.dtab import DtabSyntaxError

    try:
        return standing(now.dtab, Path.parse(order.name), Path.parse(order.to))
    except (NotShiftable, DtabSyntaxError) as error:
        fail(f"{now.namespace}, version {now.number}: {error}")


def base(plane: ControlPlane, last: Version, order: Order) -> Version:
    """The version before the first step of this order, which `last` is one of; else `last` itself."""
    oldest = last
    while oldest.number > 1 and oldest.why.startswith(order.mark):
        for each in versions.newest(plane, PAGE, oldest.number):
            oldest = each
            if not each.why.startswith(order.mark):
                break
    return oldest


def _rate(counts: shift_watch.Counts) -> str:
    success = counts.success
    return "no success rate yet" if success is None else f"{success * 100:.4g} % successful"
