"""What goes to standard output."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mesh.config.problem import Problem


class Examined(Protocol):
    """A file of configuration, as `mesh.config.load` and `mesh.control.load` have looked at it."""

    @property
    def config(self) -> object | None: ...
    @property
    def errors(self) -> tuple[Problem, ...]: ...
    @property
    def warnings(self) -> tuple[Problem, ...]: ...


# Where no terminal says how wide it is, nothing should be cut or wrapped.
WIDTH_OF_A_PIPE = 2000


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def problems(examined: Examined) -> dict[str, object]:
    """What was found in a file of configuration, as JSON."""
    return {
        "ok": examined.config is not None,
        "errors": [asdict(problem) for problem in examined.errors],
        "warnings": [asdict(problem) for problem in examined.warnings],
    }


def print_problems(examined: Examined) -> None:
    for error in examined.errors:
        typer.echo(str(error), err=True)
    for warning in examined.warnings:
        typer.echo(f"warning: {warning}", err=True)


def show(*renderables: RenderableType) -> None:
    for renderable in renderables:
        _console().print(renderable)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE)


def moment(at: float) -> str:
    """Local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def duration(seconds: float | None) -> str:
    """Two digits are enough for people: 12s, 3m, 5h, 2d."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f}s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)}{unit}"
    return f"{int(seconds)}s"
