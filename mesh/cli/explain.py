"""`tieline explain`"""

from __future__ import annotations

from typing import Annotated

import typer

from mesh.cli import client
from mesh.cli.answer import Answer, entries, section, text, yes
from mesh.cli.ending import NO
from mesh.cli.options import Admin, ConfigFile, Format, Output
from mesh.cli.printing import print_json, show


def explain(
    name: Annotated[str, typer.Argument(help="A name such as `users`, or a path such as /svc/users.")],
    router: Annotated[str | None, typer.Option("--router", help="Whose name it is [default: the first].")] = None,
    dtab_local: Annotated[
        str | None, typer.Option("--dtab-local", help="Entries put on top of the table, as `l5d-dtab` does.")
    ] = None,
    admin: Admin = None,
    config: ConfigFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Why a name leads where it leads: each rewrite, each alternative, the endpoints, how fresh they are."""
    answer = client.ask(client.agent(admin, config), "/explain", name=name, router=router, dtab=dtab_local)
    if output is Format.JSON:
        print_json(answer)
    else:
        _print(answer)
    if text(answer, "outcome") != "bound":
        raise typer.Exit(NO)


# What is said, and the status that callers get.
_OUTCOMES = {
    "bound": ("bound", None),
    "empty": ("it exists, with nothing behind it", 503),
    "neg": ("no such name", 404),
    "fail": ("refused by the table", 503),
    "pending": ("not known yet: a source has not answered", None),
    "broken": ("the table can't be followed", 503),
}


def _print(answer: Answer) -> None:
    from mesh.cli.policies import mirrors, policies
    from mesh.cli.tree import drawing

    outcome = text(answer, "outcome")
    router = f" (router {text(answer, 'router')})" if text(answer, "router", "") else ""
    gets = "callers get {}" if text(answer, "protocol", "http") == "http" else "connections are closed"
    said, status = _OUTCOMES.get(outcome, (outcome, None))
    if outcome == "neg" and yes(answer, "unanswered"):
        said, status = "can't tell whether it exists, a source does not answer", 503
    then = f": {gets.format(status)}" if status else ""
    typer.echo(f"{text(answer, 'name')}{router}: {said}{then}")
    show(drawing(section(answer, "tree"), section(answer, "endpoints")))
    for line in (*policies(answer), *mirrors(answer)):
        typer.echo(line)
    for proxy in entries(answer, "proxies"):
        standing = (
            f"has version {text(proxy, 'version')}" if yes(proxy, "has") else text(proxy, "standing", "has it not")
        )
        typer.echo(f"proxy {text(proxy, 'id')}: {standing}")
