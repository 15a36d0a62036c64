"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


def plain(name: str | None = None, about: str | None = None) -> typer.Typer:
    """A command line as ours are: its help is plain text. One with commands, which is `about` something, shows it when
    none is given."""
    return typer.Typer(
        name=name,
        help=about,
        no_args_is_help=about is not None,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


Output = Annotated[Format, typer.Option("--output", "-o", help="For people, or for programs.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The configuration [default: $TIELINE_CONFIG, else /etc/tieline/tieline.yaml]."
    ),
]
Admin = Annotated[
    str | None,
    typer.Option("--admin", help="The agent: its Unix socket or http://HOST:PORT [default: as configured]."),
]
