"""`tieline status`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mesh.cli import client, fleet
from mesh.cli.answer import Answer, count, entries, number, section, text, texts, yes
from mesh.cli.control_client import ControlPlane
from mesh.cli.ending import NO
from mesh.cli.fleet import Fleet
from mesh.cli.options import Admin, ConfigFile, Format, Output
from mesh.cli.printing import duration, print_json, show

if TYPE_CHECKING:
    from rich.table import Table

SYNCED = "SYNCED"
STALE = "STALE"
NOT_SENT = "NOT SENT"
SLOW_SECONDS = 5.0
TYPES = ("LDS", "RDS", "SRDS", "CDS", "EDS", "SDS")


def status(
    plane: ControlPlane,
    whole_fleet: Fleet = False,
    admin: Admin = None,
    config: ConfigFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Health of the agent: its sources, its proxies, and whether Envoy has what it should have. Or of the fleet."""
    if whole_fleet or plane.is_named:
        fleet.status(plane, output)
        return
    answer = client.ask(client.agent(admin, config), "/status")
    wrong = complaints(answer)
    if output is Format.JSON:
        print_json(answer)
    else:
        _print(answer)
        for complaint in wrong:
            typer.echo(f"✗ {complaint}", err=True)
    if wrong:
        raise typer.Exit(NO)


def complaints(answer: Answer) -> list[str]:
    """What is wrong, in words; empty when all is well."""
    found = [] if yes(answer, "ready") else ["not ready: no Envoy has acknowledged its configuration yet"]
    for source in entries(answer, "sources"):
        found += _source_complaints(source)
    for proxy in entries(answer, "proxies"):
        found += [f"proxy {text(proxy, 'id')}: {kind} is {STALE}" for kind in _stale(proxy)]
    for secret in entries(answer, "certificates"):
        if error := text(secret, "error", ""):
            found.append(f"certificate {text(secret, 'name')}: Envoy keeps the last good one ({error})")
        elif doubt := text(secret, "doubt", ""):
            found.append(f"certificate {text(secret, 'name')} {doubt} ({', '.join(texts(secret, 'files'))})")
    for nack in (each for each in entries(answer, "nacks") if not each.get("resolved")):
        what, why = f"{text(nack, 'type')} {text(nack, 'resource')}", "; ".join(texts(nack, "because")) or "unknown"
        found.append(f"Envoy refused {what}: {text(nack, 'message')} (because of {why})")
    return [
        *found,
        *_control_complaints(section(answer, "control")),
        *_snapshot_complaints(section(answer, "snapshot")),
    ]


def _control_complaints(control: Answer) -> list[str]:
    found = []
    if control and not yes(control, "connected"):
        since = duration(number(control, "since_seconds"))
        found.append(f"control plane: not connected for {since} ({text(control, 'reason')}); what is known goes on")
    if refused := section(control, "refused"):
        what = f"version {text(refused, 'version')} of {text(control, 'namespace')}"
        found.append(f"table: {what} can't be used, the last good one stays in force ({text(refused, 'reason')})")
    return found


def _snapshot_complaints(snapshot: Answer) -> list[str]:
    if error := text(snapshot, "error", ""):
        since = _ago(number(snapshot, "error_seconds"))
        return [f"snapshot: not written since {since}, a restart would know less ({error})"]
    if (seconds := number(snapshot, "writing_seconds") or 0.0) >= SLOW_SECONDS:
        return [f"snapshot: the disk has been writing for {duration(seconds)}"]
    return []


def _source_complaints(source: Answer) -> list[str]:
    name, found = text(source, "prefix"), []
    # An older agent tells the last error only.
    error = text(source, "reason" if "reason" in source else "last_error", "")
    if failed := count(source, "failed"):
        found.append(f"source {name}: names that can't be observed: {failed}")
    if held := count(source, "held"):
        found.append(f"source {name}: names held at the last known good: {held}")
    return [f"{complaint} ({error})" if error else complaint for complaint in found]


def _stale(proxy: Answer) -> list[str]:
    types = section(proxy, "types")
    return [kind for kind in types if text(section(types, kind), "synced") not in (SYNCED, NOT_SENT)]


def _print(answer: Answer) -> None:
    brain, envoy = section(answer, "brain"), section(answer, "envoy")
    memory = number(brain, "rss_bytes")
    typer.echo(
        f"tieline {text(answer, 'version')}, {'ready' if yes(answer, 'ready') else 'NOT READY'}, "
        f"up {duration(number(answer, 'uptime_seconds'))}\n"
        f"brain: pid {text(brain, 'pid')}, {f'{memory / 2**20:.0f} MiB' if memory else 'memory unknown'}\n"
        f"envoy: {text(envoy, 'version')}, {text(envoy, 'state', 'not answering')}, epoch {text(envoy, 'epoch')}\n"
        f"{_control(answer)}"
    )
    show(_sources(entries(answer, "sources")))
    for source in entries(answer, "sources"):
        if error := text(source, "last_error", ""):
            typer.echo(f"{text(source, 'prefix')}: last error {_ago(number(source, 'last_error_seconds'))}: {error}")
    typer.echo("")
    show(_proxies(entries(answer, "proxies")))


def _control(answer: Answer) -> str:
    if not (control := section(answer, "control")):
        return ""
    to = f"{text(control, 'url')} {text(control, 'replica', '')}".rstrip()
    connected = f"{to}, connected" if yes(control, "connected") else "not connected"
    whose = f" of {text(control, 'namespace')}" if number(control, "version") is not None else ", the agent's own"
    return (
        f"control plane: {connected} for {duration(number(control, 'since_seconds'))}\n"
        f"table: {text(answer, 'table')}{whose}, in force for {duration(number(control, 'table_since_seconds'))}\n"
    )


def _sources(sources: list[Answer]) -> Table:
    from rich.table import Column, Table

    counts = ("observations", "held", "failed", "errors")
    heads = ("KIND", "FRESHNESS", "STATE", "NAMES", "HELD", "FAILED", "ERRORS", "CONFIRMED")
    table = Table(Column("SOURCE", overflow="fold"), *heads, box=None, pad_edge=False)
    for source in sources:
        table.add_row(
            text(source, "prefix"),
            text(source, "kind"),
            text(source, "freshness"),
            text(source, "state"),
            *(str(count(source, key)) for key in counts),
            _ago(number(source, "oldest_confirmed_seconds")),
        )
    return table


def _ago(seconds: float | None) -> str:
    return "-" if seconds is None else f"{duration(seconds)} ago"


def _proxies(proxies: list[Answer]) -> Table:
    from rich.table import Table

    sent = {kind for proxy in proxies for kind in section(proxy, "types")}
    kinds = [kind for kind in TYPES if kind in sent] + sorted(sent - set(TYPES))
    table = Table("PROXY", "CONNECTED", *kinds, box=None, pad_edge=False)
    for proxy in proxies:
        types = section(proxy, "types")
        cells = [text(section(types, kind), "synced", NOT_SENT) for kind in kinds]
        table.add_row(text(proxy, "id"), duration(number(proxy, "connected_seconds")), *cells)
    return table
