"""A change of a namespace, as every command makes it: foreseen, consented to, made if nothing came between."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import typer

from mesh.cli import difference, foreseen, versions
from mesh.cli.answer import Answer, count, text
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import NO
from mesh.cli.options import Format
from mesh.cli.printing import print_json
from mesh.cli.versions import Refused, Version, Written

Why = Annotated[str, typer.Option("--message", "-m", help="Why, for the history.")]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Don't ask, and make it also if more requests move than the limit allows.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen, and change nothing.")]
IfVersion = Annotated[
    int | None, typer.Option("--if-version", min=0, help="Only if this version is in force; 0: none.")
]


class Result(StrEnum):
    MADE = "made"
    UNCHANGED = "unchanged"
    WOULD = "would change"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`version`: that in force after it. `reason`: why it was refused."""

    namespace: str
    result: Result
    version: int
    reason: str = ""
    problems: tuple[Answer, ...] = ()
    preview: Answer = field(default_factory=lambda: Answer({}))
    diff: tuple[str, ...] = ()
    current: Version | None = None

    def as_json(self) -> dict[str, object]:
        return {
            "namespace": self.namespace,
            "result": self.result.value,
            "version": self.version,
            "reason": self.reason or None,
            "problems": list(self.problems),
            "preview": self.preview or None,
            "diff": list(self.diff),
        }


Placed = Callable[[Answer], str]
"""Where a problem of the control plane stands for the reader: `names.dtab:3:8`."""


def at(file: str) -> Placed:
    """The text of `file` was sent as it is."""
    return lambda problem: f"{file}:{count(problem, 'line')}:{count(problem, 'column')}"


@dataclass(frozen=True, slots=True)
class Changing:
    """`output` JSON: nothing is printed on the way, and nobody is asked."""

    plane: ControlPlane
    output: Format = Format.TABLE
    yes: bool = False
    dry_run: bool = False

    @property
    def _tells(self) -> bool:
        return self.output is Format.TABLE

    @property
    def asks(self) -> bool:
        return self._tells and not self.yes and sys.stdin.isatty() and sys.stdout.isatty()

    def foresee(self, before: Version, content: Written, placed: Placed, then: str) -> Outcome:
        """What would happen, shown. `then`: what people call the new content."""
        if not content.changes(before):
            return Outcome(before.namespace, Result.UNCHANGED, before.number)
        seen = versions.foresee(self.plane, content, before.namespace)
        diff = tuple(difference.against(before, content, then))
        if seen.problems:
            reason = "\n".join(problem_lines(seen.problems, placed))
            return self._refused(before, reason, problems=seen.problems, diff=diff)
        if self._tells:
            if before.exists:
                difference.show([*diff])
            foreseen.print_preview(seen.preview)
        refusal = None if self.yes else foreseen.refused(seen.preview)
        if refusal is not None:
            return self._refused(before, refusal, preview=seen.preview, diff=diff)
        return Outcome(before.namespace, Result.WOULD, before.number, preview=seen.preview, diff=diff)

    def overtaken(self, before: Version, content: Written, expected: int, then: str) -> Outcome:
        """Another version than the expected one is in force."""
        diff = tuple(difference.against(before, content, then))
        if self._tells:
            difference.show([*diff])
        reason = f"{before.namespace}: {before.shown} is in force, not version {expected}. Look at it, and set again"
        return self._refused(before, reason, diff=diff)

    def make(self, before: Version, content: Written, why: str, seen: Outcome) -> Outcome:
        """What was foreseen, unless nothing is to be made."""
        if seen.result is not Result.WOULD or self.dry_run:
            return seen
        if not self.consented():
            return self.declined(before, seen)
        return self.made(before, versions.put(self.plane, before, content, why, yes=self.yes), seen)

    def consented(self) -> bool:
        return not self.asks or typer.confirm("Make this change?")

    def declined(self, before: Version, seen: Outcome) -> Outcome:
        return self._refused(before, "nothing was changed", preview=seen.preview, diff=seen.diff)

    def made(self, before: Version, done: Version | Refused, seen: Outcome) -> Outcome:
        if isinstance(done, Version):
            return Outcome(before.namespace, Result.MADE, done.number, preview=seen.preview, diff=seen.diff)
        if self._tells and done.current is not None:
            difference.show(difference.lines(before, done.current))
        return self._refused(before, done.reason, current=done.current)

    def _refused(
        self,
        before: Version,
        reason: str,
        *,
        problems: tuple[Answer, ...] = (),
        preview: Answer | None = None,
        diff: tuple[str, ...] = (),
        current: Version | None = None,
    ) -> Outcome:
        number = current.number if current else before.number
        seen = preview or Answer({})
        return Outcome(before.namespace, Result.REFUSED, number, reason, problems, seen, diff, current)


def conclude(outcome: Outcome, output: Format) -> None:
    """Says what came of it, and ends the command."""
    if output is Format.JSON:
        print_json(outcome.as_json())
    else:
        say(outcome)
    if outcome.result is Result.REFUSED:
        raise typer.Exit(NO)


def say(outcome: Outcome) -> None:
    match outcome.result:
        case Result.MADE:
            typer.echo(f"{outcome.namespace}: version {outcome.version} is in force")
        case Result.UNCHANGED:
            typer.echo(f"{outcome.namespace}: nothing to change, version {outcome.version} says the same")
        case Result.WOULD:
            typer.echo(f"{outcome.namespace}: nothing was changed")
        case Result.REFUSED:
            typer.echo(outcome.reason, err=True)


def problem_lines(problems: Iterable[Answer], placed: Placed) -> list[str]:
    return [_problem(each, placed) for each in problems]


def _problem(problem: Answer, placed: Placed) -> str:
    hint, code = text(problem, "hint", ""), text(problem, "code", "")
    said = f"{text(problem, 'level', 'error')}: {text(problem, 'message')}"
    place = f"{placed(problem)}: " if count(problem, "line") else ""
    return f"{place}{said}" + (f". {hint}" if hint else "") + (f" [{code}]" if code else "")
