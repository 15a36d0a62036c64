"""`tieline config check|schema`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.ending import NO
from mesh.cli.options import Format, Output
from mesh.cli.printing import print_json, print_problems, problems

if TYPE_CHECKING:
    from mesh.config.load import Examined


def commands() -> typer.Typer:
    group = typer.Typer(name="config", help="The agent's configuration.", no_args_is_help=True, rich_markup_mode=None)
    group.command()(check)
    group.command()(schema)
    return group


def check(file: Annotated[Path, typer.Argument(help="The configuration.")], output: Output = Format.TABLE) -> None:
    """Say whether a configuration can be used, and each mistake in it with its line."""
    from mesh.config.load import examine

    examined = examine(file)
    if output is Format.JSON:
        print_json(problems(examined))
    else:
        _print(file, examined)
    if examined.config is None:
        raise typer.Exit(NO)


def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    from mesh.config.schema import schema

    print_json(schema())


def _print(file: Path, examined: Examined) -> None:
    print_problems(examined)
    if examined.config is not None:
        sources, routers = len(examined.config.sources), len(examined.config.routers)
        typer.echo(f"{file}: ok (sources: {sources}, routers: {routers}, dentries: {len(examined.config.dtab)})")
