"""`tieline shift`"""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mesh.cli.changing import DryRun, Why, Yes
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import fail
from mesh.cli.options import Format, Output

_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name, as a path such as /svc/users.")]
To = Annotated[str, typer.Option("--to", help="Where it is to lead, such as /#/ecs/prod/users.")]


def shift(
    plane: ControlPlane,
    name: Name,
    to: To,
    step: Annotated[str, typer.Option("--step", help="How much more with each step.")] = "10%",
    every: Annotated[str, typer.Option("--every", help="How long each step is watched at least.")] = "1m",
    abort_below: Annotated[
        str, typer.Option("--abort-below", help="The success rate below which all is undone.")
    ] = "99%",
    least_requests: Annotated[
        int, typer.Option("--least-requests", min=0, help="So many are counted before a step is judged.")
    ] = 20,
    why: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Move a name to another place step by step, and back by itself if requests fail."""
    from mesh.cli.shift_run import Order, Run
    from mesh.cli.shift_telling import Telling
    from mesh.cli.shifting import WHOLE

    order = Order(
        _path(name, "NAME"), _path(to, "--to"), _percent(step, "--step"), _seconds(every),
        _percent(abort_below, "--abort-below") / 100, least_requests, why,
    )  # fmt: skip
    run = Run.begun(plane, order, Telling(output), yes=yes)
    if run.standing.percent >= WHOLE:
        run.telling.event("done", f"{order.name} leads to {order.to} already", version=run.last.number)
        return
    run.foresee(dry_run=dry_run)
    if not dry_run:
        run.to_the_end()


def _path(written: str, option: str) -> str:
    from discovery.path import Path, PathSyntaxError

    try:
        path = Path.parse(written)
    except PathSyntaxError as error:
        fail(f"{option}: {error}", 2)
    if not path:
        fail(f"{option}: a path with a segment or more expected", 2)
    return path.show()


def _percent(written: str, option: str) -> float:
    found = _PERCENT.fullmatch(written.strip())
    percent = float(found[1]) if found else 0.0
    if not 0 < percent <= 100:
        fail(f"{option}: a share such as 10% expected, not {written!r}", 2)
    return percent


def _seconds(written: str) -> float:
    from pydantic import TypeAdapter, ValidationError

    from discovery.settings import Duration

    try:
        return float(TypeAdapter(Duration).validate_python(written))
    except ValidationError:
        fail(f"--every: a duration such as 30s or 5m expected, not {written!r}", 2)
