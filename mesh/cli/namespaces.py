"""`tieline dtab list` and `tieline dtab delete`: namespaces as a whole."""

from __future__ import annotations

from dataclasses import replace

import typer

from mesh.cli import versions
from mesh.cli.answer import Answer, count, entries, number, text
from mesh.cli.answer import yes as says_yes
from mesh.cli.changing import Changing, DryRun, IfVersion, Outcome, Result, Why, Yes, conclude
from mesh.cli.content_commands import there
from mesh.cli.control_client import ControlPlane
from mesh.cli.options import Format, Output
from mesh.cli.printing import moment, print_json, show
from mesh.cli.versions import Version, Written


def list_all(plane: ControlPlane, output: Output = Format.TABLE) -> None:
    """Every namespace there is: its version, when, who, why."""
    found = entries(plane.ask("/v1/namespaces"), "namespaces")
    if output is Format.JSON:
        print_json({"namespaces": found})
    elif there_are := [each for each in found if not says_yes(each, "deleted")]:
        _show(there_are)
    else:
        typer.echo("there is no namespace: `tieline dtab set` makes one")


def delete(
    plane: ControlPlane,
    if_version: IfVersion = None,
    why: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Delete a namespace, its table and its policies. Its versions stay, and `rollback` brings it back."""
    before = there(plane, versions.current(plane))
    changing, nothing = Changing(plane, output, yes, dry_run), Written("", "")
    if if_version is not None and if_version != before.number:
        conclude(changing.overtaken(before, nothing, if_version, "nothing"), output)
    outcome = changing.foresee(before, nothing, lambda _: "nothing", "nothing")
    if outcome.result is Result.UNCHANGED:  # It is there, and says nothing.
        outcome = replace(outcome, result=Result.WOULD)
    if outcome.result is Result.WOULD and not dry_run:
        outcome = _deleted(changing, before, why, outcome)
    if outcome.result is Result.MADE and output is Format.TABLE:
        back = "`tieline dtab rollback --last` brings it back"
        typer.echo(f"{before.namespace}: deleted, as version {outcome.version}; {back}")
    else:
        conclude(outcome, output)


def _deleted(changing: Changing, before: Version, why: str, seen: Outcome) -> Outcome:
    if not changing.consented():
        return changing.declined(before, seen)
    return changing.made(before, versions.delete(changing.plane, before, why, yes=changing.yes), seen)


def _show(found: list[Answer]) -> None:
    from rich.table import Column, Table

    table = Table("NAMESPACE", "VERSION", "WHEN", "WHO", Column("WHY", overflow="fold"), box=None, pad_edge=False)
    for each in found:
        said = text(each, "who"), text(each, "why", "") or "-"
        table.add_row(text(each, "namespace"), str(count(each, "version")), moment(number(each, "at") or 0), *said)
    show(table)
