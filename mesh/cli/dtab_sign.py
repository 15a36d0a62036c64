"""`tieline dtab sign`"""

from __future__ import annotations

import pathlib
import time
from typing import Annotated

import typer

from mesh.cli.ending import NO


def sign(
    table: Annotated[str, typer.Argument(help="The entries, as they stand in `l5d-dtab`.")],
    key_file: Annotated[pathlib.Path, typer.Option("--key-file", help="The `overrides_key_file` of the routers.")],
    valid: Annotated[str, typer.Option("--valid", help="For how long: 30m, 8h.")] = "1h",
) -> None:
    """Sign a table that requests bring, for routers with `overrides: signed`."""
    from pydantic import TypeAdapter, ValidationError

    from discovery.settings import Duration
    from mesh.naming.dtab import DtabSyntaxError, parse_dtab
    from mesh.naming.local import SIGNATURE, USER
    from mesh.naming.signature import LEAST_KEY_BYTES
    from mesh.naming.signature import sign as signed

    try:
        seconds = TypeAdapter(Duration).validate_python(valid)
        shown = parse_dtab(table, "table").show()
        key = key_file.read_bytes()
    except ValidationError:
        raise typer.BadParameter("a duration such as 30m or 8h expected", param_hint="--valid") from None
    except DtabSyntaxError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(NO) from None
    except OSError as error:
        typer.echo(f"{key_file}: the file can't be read: {(error.strerror or str(error)).lower()}", err=True)
        raise typer.Exit(NO) from None
    if len(key) < LEAST_KEY_BYTES:
        typer.echo(f"{key_file}: a key of at least {LEAST_KEY_BYTES} bytes expected", err=True)
        raise typer.Exit(NO)
    typer.echo(f"{USER}: {shown}")
    typer.echo(f"{SIGNATURE}: {signed(key, shown, int(time.time() + seconds))}")
