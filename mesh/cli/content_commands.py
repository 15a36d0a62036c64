"""`get`, `set`, `diff` and `history` of `tieline dtab` and `tieline policy`: the two texts that a version has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli import difference, versions
from mesh.cli.changing import Changing, DryRun, IfVersion, Why, Yes, at, conclude
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import fail
from mesh.cli.options import Format, Output
from mesh.cli.printing import moment, print_json, show
from mesh.cli.table_file import read, shown
from mesh.cli.versions import Part, Version, Written

if TYPE_CHECKING:
    from rich.table import Table

NewFile = Annotated[str, typer.Argument(metavar="FILE", help="The new text; - reads standard input.")]


def get(
    plane: ControlPlane,
    part: Part,
    version: Annotated[int | None, typer.Option("--version", min=1, help="That version [default: the last].")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Print what is in force, as it was written."""
    found = there(plane, versions.current(plane) if version is None else versions.numbered(plane, version))
    if output is Format.JSON:
        print_json(row(found) | {part.key: part.of(found)})
    else:
        # Into a file it goes as it is, so that `set` finds it unchanged.
        written = part.of(found)
        typer.echo(written, nl=sys.stdout.isatty() and not written.endswith("\n"))


def put(
    plane: ControlPlane,
    part: Part,
    file: NewFile,
    if_version: IfVersion = None,
    why: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Put another text in force, once it is shown what that does."""
    content, before = Written.of(part, read(file)), versions.current(plane)
    changing = Changing(plane, output, yes, dry_run)
    if if_version is not None and if_version != before.number:
        conclude(changing.overtaken(before, content, if_version, shown(file)), output)
    outcome = changing.foresee(before, content, at(shown(file)), shown(file))
    conclude(changing.make(before, content, why, outcome), output)


def diff(
    plane: ControlPlane,
    part: Part,
    one: Annotated[str, typer.Argument(metavar="FILE|VERSION", help="A file (- reads standard input) or a version.")],
    other: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", help="Compared with this [default: the last].")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Compare what is in force with a file, or two versions."""
    last = versions.current(plane) if other is None else there(plane, versions.numbered(plane, other))
    named = f"{part.word} of {last.shown}"
    if one.isdecimal():
        first = versions.numbered(plane, int(one))
        lines = difference.unified(part.of(first), part.of(last), f"{part.word} of version {one}", named)
    else:
        lines = difference.unified(part.of(last), read(one), named, shown(one))
    if output is Format.JSON:
        print_json({"namespace": last.namespace, "same": not lines, "diff": lines})
    elif lines:
        difference.show(lines)
    else:
        typer.echo("no difference")


def history(
    plane: ControlPlane,
    limit: Annotated[int, typer.Option("--limit", min=1, max=199, help="How many at most.")] = 20,
    before: Annotated[int | None, typer.Option("--before", min=1, help="Only versions before this.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Every version: when, who, why."""
    found = versions.newest(plane, limit + 1, before)
    if not found:
        fail(f"{plane.chosen_namespace}: there is no version{f' before {before}' if before else ''}")
    rows = [(each, earlier) for each, earlier in zip(found, [*found[1:], None], strict=True)][:limit]
    if output is Format.JSON:
        print_json({"versions": [row(each) | {"changed": _changed(earlier, each)} for each, earlier in rows]})
    else:
        show(_table(rows))


def there(plane: ControlPlane, found: Version) -> Version:
    """Ends the command where there is nothing to show."""
    if not found.exists:
        gone = f"version {found.number} is its end" if found.number else "nothing is in force"
        fail(
            f"{plane.chosen_namespace}: {gone}. `tieline dtab history` says what was; `tieline dtab set` makes a table"
        )
    return found


def row(found: Version) -> dict[str, object]:
    return {
        "namespace": found.namespace,
        "version": found.number,
        "etag": found.etag,
        "at": found.at,
        "who": found.who,
        "why": found.why,
    }


def _changed(earlier: Version | None, each: Version) -> str:
    """What came before the oldest shown may be another page's."""
    return "-" if earlier is None and each.number > 1 else difference.in_a_word(earlier, each)


def _table(rows: list[tuple[Version, Version | None]]) -> Table:
    from rich.table import Column, Table

    table = Table("VERSION", "WHEN", "WHO", "CHANGED", Column("WHY", overflow="fold"), box=None, pad_edge=False)
    for each, earlier in rows:
        table.add_row(str(each.number), moment(each.at), each.who, _changed(earlier, each), each.why or "-")
    return table
