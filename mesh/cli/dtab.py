"""`tieline dtab`"""

from __future__ import annotations

import typer

from mesh.cli import dtab_check, dtab_eval, dtab_sign


def commands() -> typer.Typer:
    group = typer.Typer(name="dtab", help="Delegation tables.", no_args_is_help=True, rich_markup_mode=None)
    group.command(name="check")(dtab_check.check)
    group.command(name="eval")(dtab_eval.evaluate)
    group.command(name="sign")(dtab_sign.sign)
    return group
