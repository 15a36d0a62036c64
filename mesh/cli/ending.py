"""How a command ends other than well.

0  yes, done
1  the answer is no, or the input is bad
2  the command line is wrong
3  the agent or the control plane can't be reached
"""

from __future__ import annotations

from typing import NoReturn

import typer

NO = 1
UNREACHABLE = 3


def fail(message: str, code: int = NO) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
