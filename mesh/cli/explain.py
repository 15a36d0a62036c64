"""`tieline explain`"""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from mesh.cli import client, replicas
from mesh.cli.answer import Answer, count, entries, number, section, text, yes
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import NO, fail
from mesh.cli.fleet import Fleet
from mesh.cli.options import Admin, ConfigFile, Format, Output
from mesh.cli.printing import duration, print_json, show


def explain(
    plane: ControlPlane,
    name: Annotated[str, typer.Argument(help="A name such as `users`, or a path such as /svc/users.")],
    router: Annotated[str | None, typer.Option("--router", help="Whose name it is [default: the first].")] = None,
    dtab_local: Annotated[
        str | None, typer.Option("--dtab-local", help="Entries put on top of the table, as `l5d-dtab` does.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", help="As this agent sees it; the control plane is asked.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="As it was then: 14:03 (today) or ISO 8601; the control plane is asked.")
    ] = None,
    whole_fleet: Fleet = False,
    admin: Admin = None,
    config: ConfigFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Why a name leads where it leads: each rewrite, each alternative, the endpoints, how fresh they are."""
    moment = None if at is None else _moment(at)
    if whole_fleet or agent or at or plane.is_named:
        asked = {"name": name, "router": router, "dtab": dtab_local, "agent": agent, "at": moment}
        answer = replicas.first(plane, plane.within("explain"), asked)
    else:
        answer = client.ask(client.agent(admin, config), "/explain", name=name, router=router, dtab=dtab_local)
    if output is Format.JSON:
        print_json(answer)
    else:
        _print(answer, moment)
    if text(answer, "outcome") != "bound":
        raise typer.Exit(NO)


def _moment(written: str) -> float:
    """Seconds since the epoch."""
    from datetime import datetime

    now = datetime.now().astimezone()
    try:
        # Without an offset: the one that this host has, or had, at that time.
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", written):
            clock = datetime.strptime(written, "%H:%M:%S" if written.count(":") == 2 else "%H:%M")  # noqa: DTZ007
            found = datetime.combine(now.date(), clock.time()).astimezone()
        else:
            found = datetime.fromisoformat(written).astimezone()
    except (ValueError, OverflowError):
        fail(f"--at: a time such as 14:03 or 2026-11-25T14:03:00 expected, not {written!r}", 2)
    if found > now:
        fail(f"--at: {found:%Y-%m-%d %H:%M:%S} has not come yet. Give the date with it: 2026-11-24T23:50", 2)
    return found.timestamp()


# What is said, and the status that callers get.
_OUTCOMES = {
    "bound": ("bound", None),
    "empty": ("it exists, with nothing behind it", 503),
    "neg": ("no such name", 404),
    "fail": ("refused by the table", 503),
    "pending": ("not known yet: a source has not answered", None),
    "broken": ("the table can't be followed", 503),
    "unknown": ("not known", None),
}


def _told(answer: Answer) -> str:
    """Which table is explained, and how the agent stands that it is explained for. Agents don't say it."""
    if "table" not in answer:
        return ""
    version = text(answer, "table", "")
    told = [f"namespace {text(answer, 'namespace')}, {f'version {version}' if version else 'which has no table'}"]
    told += [f"at {text(answer, 'at')}"] if text(answer, "at", "") else []
    if agent := section(answer, "agent"):
        told.append(f"as {text(agent, 'agent')} sees it")
        if not yes(agent, "connected"):
            told.append(f"which is gone since {duration(time.time() - (number(agent, 'since') or 0))} ago")
        if refused := section(agent, "table_refused"):
            told.append(f"which has refused version {count(refused, 'version')}: {text(refused, 'reason')}")
    return ", ".join(told)


def _print(answer: Answer, moment: float | None) -> None:
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
    if told := _told(answer):
        typer.echo(told)
    if outcome == "unknown":
        typer.echo(text(answer, "reason"))
        return
    show(drawing(section(answer, "tree"), section(answer, "endpoints"), moment))
    for line in (*policies(answer), *mirrors(answer)):
        typer.echo(line)
    for proxy in entries(answer, "proxies"):
        standing = (
            f"has version {text(proxy, 'version')}" if yes(proxy, "has") else text(proxy, "standing", "has it not")
        )
        typer.echo(f"proxy {text(proxy, 'id')}: {standing}")
