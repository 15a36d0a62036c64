"""`tieline dtab rollback`"""

from __future__ import annotations

from typing import Annotated

import typer

from mesh.cli import versions
from mesh.cli.changing import Changing, DryRun, Outcome, Result, Why, Yes, conclude
from mesh.cli.content_commands import there
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import fail
from mesh.cli.options import Format, Output
from mesh.cli.versions import Version, Written


def rollback(
    plane: ControlPlane,
    version: Annotated[
        int | None, typer.Argument(min=1, help="Whose table and policies are to be in force again.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Those before the last change.")] = False,
    why: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Put an earlier table and its policies in force again, as a new version."""
    if (version is None) != last:
        fail("a VERSION or --last expected", 2)
    before = versions.current(plane)
    earlier = there(plane, versions.numbered(plane, version) if version is not None else _before(plane, before))
    changing = Changing(plane, output, yes, dry_run)
    content = Written(earlier.dtab, earlier.policies)
    outcome = changing.foresee(before, content, lambda _: f"version {earlier.number}", f"version {earlier.number}")
    if outcome.result is Result.WOULD and not dry_run:
        outcome = _made(changing, before, earlier, why, outcome)
    conclude(outcome, output)


def _made(changing: Changing, before: Version, earlier: Version, why: str, seen: Outcome) -> Outcome:
    if not changing.consented():
        return changing.declined(before, seen)
    why = why or f"back to version {earlier.number}"
    return changing.made(
        before, versions.roll_back(changing.plane, before, earlier.number, why, yes=changing.yes), seen
    )


def _before(plane: ControlPlane, current: Version) -> Version:
    """A deletion is undone by the last version that has content."""
    number = current.number if current.exists else None
    found = next((each for each in versions.newest(plane, 10, number) if each.exists), None)
    if found is None:
        fail(f"{plane.chosen_namespace}: there is nothing before {current.shown}")
    return found
