"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


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
