"""Reads the table that a `tieline dtab` command is about, and the configuration it is to be seen with."""

from __future__ import annotations

import sys
from pathlib import Path as File
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.ending import fail

if TYPE_CHECKING:
    from mesh.config.model import Config
    from mesh.naming.dtab import Dtab

TableFile = Annotated[str, typer.Argument(metavar="FILE", help="The table; - reads standard input.")]
SourcesOf = Annotated[
    File | None, typer.Option("--config", "-c", help="The configuration that says which sources there are.")
]


def table(file: str) -> Dtab:
    from mesh.config import wording
    from mesh.naming.dtab import DtabSyntaxError, parse_dtab

    try:
        return parse_dtab(read(file), shown(file))
    except DtabSyntaxError as error:
        fail(f"{shown(file)}:{error.line}:{error.column}: {wording.misread(error)}. {wording.DTAB_HINT}")


def configuration(file: File | None) -> Config | None:
    from mesh.config.load import examine

    if file is None:
        return None
    examined = examine(file)
    if examined.errors:
        fail("\n".join(map(str, examined.errors)))
    return examined.config


def read(file: str) -> str:
    from mesh.config import reading

    if file == "-":
        return sys.stdin.read()
    try:
        return reading.text(File(file))
    except reading.Unreadable as error:
        fail(str(error.problem))


def shown(file: str) -> str:
    return "stdin" if file == "-" else file
