"""`tieline status` and `tieline names` of the whole fleet, as the control plane tells it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli import replicas
from mesh.cli.answer import Answer, count, entries, number, section, text, texts, yes
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import NO
from mesh.cli.options import Format
from mesh.cli.printing import duration, print_json, show

if TYPE_CHECKING:
    from rich.table import Table

Fleet = Annotated[
    bool, typer.Option("--fleet", help="Of all agents: the control plane is asked. --control implies it.")
]
MOST_SHOWN = 3


def status(plane: ControlPlane, output: Format) -> None:
    health, agents = replicas.ask(plane, "/v1/health"), replicas.agents(replicas.ask(plane, "/v1/agents"))
    last = {text(each, "namespace"): each for each in entries(plane.ask("/v1/namespaces"), "namespaces")}
    wrong = [*health.silent.values(), *_unwell(health)]
    for agent in agents:
        wrong += [*complaints(agent), *_behind(agent, last.get(text(agent, "namespace"), Answer({})))]
    if output is Format.JSON:
        print_json({"replicas": health.answers, "silent": health.silent, "agents": agents, "wrong": wrong})
    else:
        _print(health, agents)
        for complaint in wrong:
            typer.echo(f"✗ {complaint}", err=True)
    if wrong:
        raise typer.Exit(NO)


def names(plane: ControlPlane, output: Format) -> None:
    asked = replicas.ask(plane, plane.within("names"))
    used = replicas.names(asked)
    for reason in asked.silent.values():
        typer.echo(reason, err=True)
    if output is Format.JSON:
        print_json({"namespace": plane.chosen_namespace, "names": used, "silent": asked.silent})
    elif used:
        show(_names(used))
    else:
        typer.echo(f"{plane.chosen_namespace}: no agent has used a name within the last hour")


def complaints(agent: Answer) -> list[str]:
    """What is wrong at an agent, in words."""
    who, now, found = f"agent {text(agent, 'agent')}", time.time(), list[str]()
    if not yes(agent, "connected"):
        found.append(f"{who} is gone since {_ago(number(agent, 'since'), now)}")
    elif not yes(agent, "ready") and number(agent, "reported_at") is not None:
        found.append(f"{who} is not ready")
    if refused := section(agent, "table_refused"):
        found.append(f"{who} has refused version {text(refused, 'version')}: {text(refused, 'reason')}")
    for resource in entries(section(agent, "envoy"), "refused"):
        since = _ago(number(resource, "since"), now)
        found.append(f"{who}: Envoy refused {text(resource, 'resource')} {since}: {text(resource, 'reason')}")
    if held := entries(agent, "held"):
        found.append(f"{who}: names held at the last known good: {len(held)} ({_held(held, now)})")
    if error := text(agent, "unreadable", ""):
        found.append(f"{who}: its report can't be read: {error}")
    return found


def _behind(agent: Answer, last: Answer) -> Iterable[str]:
    """`last`: the version that should be in force; empty if there never was one."""
    newest, has = count(last, "version"), count(agent, "table")
    if not last or has >= newest or not yes(agent, "connected") or section(agent, "table_refused"):
        return
    since = _ago(number(last, "at"), time.time())
    said = f"has version {has} in force" if has else "has no table"
    yield f"agent {text(agent, 'agent')} {said}; {newest} was made {since}"


def _unwell(health: replicas.Asked) -> Iterable[str]:
    """What replicas say is wrong with them; of which, if there are several."""
    for where, answer in health.answers.items():
        of = f"{where}: " if len(health.answers) + len(health.silent) > 1 else ""
        yield from (f"{of}{each}" for each in texts(answer, "wrong"))


def _print(health: replicas.Asked, agents: list[Answer]) -> None:
    for answer in health.answers.values():
        _print_replica(answer)
    if agents:
        show(_agents(agents))
    else:
        typer.echo("No agent has connected.")


def _print_replica(health: Answer) -> None:
    store, sources = section(health, "store"), section(health, "sources")
    typer.echo(
        f"tieline control {text(health, 'version')}, replica {text(health, 'replica')}, "
        f"up {duration(number(health, 'up_seconds'))}\n"
        f"store: {text(store, 'kind')}, {_store(store)}\n"
        f"sources: {', '.join(f'{prefix} {text(sources, prefix)}' for prefix in sources) or 'none'}\n"
    )


def _store(store: Answer) -> str:
    if reason := text(store, "held", ""):
        return f"HELD for {duration(number(store, 'held_seconds'))}: {reason}"
    return "ok" if yes(store, "answered") else "has not answered yet"


def _agents(agents: list[Answer]) -> Table:
    from rich.table import Column, Table

    heads = ("NAMESPACE", "VERSION", "CONNECTED", "TABLE", "SINCE", "REFUSED", "HELD")
    table, now = Table(Column("AGENT", overflow="fold"), *heads, box=None, pad_edge=False), time.time()
    for agent in agents:
        refused = count(section(agent, "table_refused"), "version")
        nacks = len(entries(section(agent, "envoy"), "refused"))
        table.add_row(
            text(agent, "agent"),
            text(agent, "namespace"),
            text(agent, "version"),
            _connected(agent, now),
            text(agent, "table"),
            _ago(number(agent, "table_since"), now),
            ", ".join([*([f"version {refused}"] if refused else []), *([f"Envoy {nacks}"] if nacks else [])]) or "-",
            str(len(entries(agent, "held"))),
        )
    return table


def _connected(agent: Answer, now: float) -> str:
    since = number(agent, "since")
    if since is None:
        return "-"
    return duration(now - since) if yes(agent, "connected") else f"GONE {duration(now - since)}"


def _names(used: list[Answer]) -> Table:
    from rich.table import Column, Table

    bound = Column("BOUND TO", overflow="fold")
    table = Table("ROUTER", "NAME", bound, "RATE", "REQUESTS", "SUCCESS", "AGENTS", box=None, pad_edge=False)
    for name in used:
        requests, failures = count(name, "requests"), count(name, "failures")
        success = f"{100 * (1 - failures / requests):.4g} %" if requests else "-"
        table.add_row(
            text(name, "router"),
            text(name, "name"),
            _few(texts(name, "bound")),
            f"{number(name, 'rate') or 0:.1f}/s",
            str(requests),
            success,
            _few(texts(name, "agents")),
        )
    return table


def _few(words: list[str]) -> str:
    more = f" and {len(words) - MOST_SHOWN} more" if len(words) > MOST_SHOWN else ""
    return f"{', '.join(words[:MOST_SHOWN])}{more}" or "-"


def _held(held: list[Answer], now: float) -> str:
    said = [
        f"{text(name, 'name')} since {_ago(number(name, 'since'), now)}: {text(name, 'reason')}"
        for name in held[:MOST_SHOWN]
    ]
    return "; ".join(said) + (f"; and {len(held) - MOST_SHOWN} more" if len(held) > MOST_SHOWN else "")


def _ago(at: float | None, now: float) -> str:
    return "-" if at is None else f"{duration(max(0.0, now - at))} ago"
