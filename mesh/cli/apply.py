"""`tieline apply`, `tieline preview` and `tieline lint`: tables and policies that are kept in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli import versions
from mesh.cli.answer import Answer, entries, text
from mesh.cli.changing import Changing, DryRun, Outcome, Result, Yes, problem_lines, say
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import NO, fail
from mesh.cli.options import Format, Output
from mesh.cli.printing import print_json

if TYPE_CHECKING:
    from mesh.cli.apply_files import Wanted

Files = Annotated[
    list[Path], typer.Option("--file", "-f", help="A YAML file, or a folder of them; may be given again.")
]
Why = Annotated[str, typer.Option("--message", "-m", help="Why, for the history [default: the `why` of the file].")]


def apply(
    plane: ControlPlane,
    files: Files,
    why: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Put in force what files say, once all of it is shown. What is in force already is left alone."""
    wanted = _wanted(files, plane)
    changing = Changing(plane, output, yes, dry_run)
    outcomes = _foreseen(changing, wanted)
    if not any(outcome.result is Result.REFUSED for _, _, outcome in outcomes):
        outcomes = _made(changing, why, outcomes)
    _conclude([outcome for _, _, outcome in outcomes], output)


def preview(plane: ControlPlane, files: Files, yes: Yes = False, output: Output = Format.TABLE) -> None:
    """Show which names would lead elsewhere if files were applied. Changes nothing."""
    outcomes = _foreseen(Changing(plane, output, yes, dry_run=True), _wanted(files, plane))
    _conclude([outcome for _, _, outcome in outcomes], output)


def lint(plane: ControlPlane, files: Files, output: Output = Format.TABLE) -> None:
    """Find mistakes in files, with what the control plane knows: its sources and the names in use."""
    found: list[tuple[Wanted, Answer]] = []
    for each in _wanted(files, plane):
        path = plane.within("lint", namespace=each.namespace)
        answer = plane.send("POST", path, body=each.content.body()).answer or Answer({})
        found += [(each, problem) for problem in entries(answer, "problems")]
    if output is Format.JSON:
        print_json({"problems": [{**problem, "place": each.placed(problem)} for each, problem in found]})
    else:
        for each, problem in found:
            typer.echo("\n".join(problem_lines([problem], each.placed)), err=True)
        typer.echo(f"problems: {len(found)}" if found else "ok")
    if any(text(problem, "level") == "error" for _, problem in found):
        raise typer.Exit(NO)


def _wanted(files: list[Path], plane: ControlPlane) -> list[Wanted]:
    from mesh.cli import apply_files

    try:
        return apply_files.wanted(files, plane.chosen_namespace)
    except apply_files.BadFiles as error:
        fail(str(error))


Foreseen = tuple["Wanted", versions.Version, Outcome]


def _foreseen(changing: Changing, wanted: list[Wanted]) -> list[Foreseen]:
    found = []
    for each in wanted:
        before = versions.current(changing.plane, each.namespace)
        found.append((each, before, changing.foresee(before, each.content, each.placed, each.where)))
    return found


def _made(changing: Changing, why: str, foreseen: list[Foreseen]) -> list[Foreseen]:
    """In the order of the files; what comes after one that is refused is left as it was."""
    found: list[Foreseen] = []
    for each, before, seen in foreseen:
        outcome = changing.make(before, each.content, why or each.why, seen)
        found.append((each, before, outcome))
        if outcome.result is Result.REFUSED:
            break
    return [*found, *foreseen[len(found) :]]


def _conclude(outcomes: list[Outcome], output: Format) -> None:
    if output is Format.JSON:
        print_json({"namespaces": [outcome.as_json() for outcome in outcomes]})
    else:
        for outcome in outcomes:
            say(outcome)
    if any(outcome.result is Result.REFUSED for outcome in outcomes):
        raise typer.Exit(NO)
