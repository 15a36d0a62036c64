"""`tieline names`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli import client, fleet
from mesh.cli.answer import Answer, count, entries, number, text, texts
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import NO, fail
from mesh.cli.fleet import Fleet
from mesh.cli.options import Admin, ConfigFile, Format, Output
from mesh.cli.printing import duration, print_json, show

if TYPE_CHECKING:
    from rich.table import Table


def names(
    plane: ControlPlane,
    every: Annotated[bool, typer.Option("--all", help="Every name that the sources know, used or not.")] = False,
    whole_fleet: Fleet = False,
    admin: Admin = None,
    config: ConfigFile = None,
    output: Output = Format.TABLE,
) -> None:
    """The names in use, on this host or of the fleet, and what they are bound to."""
    if whole_fleet or plane.is_named:
        if every:
            fail("--all is about one agent; of the fleet there are the names in use", 2)
        fleet.names(plane, output)
        return
    answer = client.ask(client.agent(admin, config), "/names", all="1" if every else None)
    if output is Format.JSON:
        print_json(answer)
    elif every:
        _print_catalog(answer)
    elif used := entries(answer, "names"):
        show(_table(used))
    else:
        typer.echo(
            "No name is in use: nobody has called one, or all were idle. `tieline names --all` lists what there is."
        )
    if every and any(text(source, "error", "") for source in entries(answer, "sources")):
        raise typer.Exit(NO)


def _table(used: list[Answer]) -> Table:
    from rich.table import Table

    table = Table("ROUTER", "NAME", "BOUND TO", "ENDPOINTS", "AGE", "IDLE", "HELD", box=None, pad_edge=False)
    for name in used:
        table.add_row(
            text(name, "router"),
            text(name, "path", text(name, "key")),
            text(name, "bound"),
            str(count(name, "endpoints")),
            duration(number(name, "age_seconds")),
            duration(number(name, "idle_seconds")),
            "; ".join(texts(name, "held")) or "-",
        )
    return table


def _print_catalog(answer: Answer) -> None:
    """A line for each source, below it its names. Only the former have blanks in them."""
    for source in entries(answer, "sources"):
        found, error = texts(source, "names"), text(source, "error", "")
        typer.echo("\n".join([_source(source), *found]))
        if error:
            typer.echo(f"{text(source, 'prefix')}: can't be listed: {error}", err=True)


def _source(source: Answer) -> str:
    told = ", ".join(each for key in ("kind", "freshness") if (each := text(source, key, "")))
    names = number(source, "count")
    if names is not None:
        listed = f"{names:.0f} name{'s' * (names != 1)}"
    else:
        listed = "can't be listed" if text(source, "error", "") else "has no list of its names"
    return f"{text(source, 'prefix')} ({told}): {listed}"
