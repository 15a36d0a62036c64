"""Prints a preview: which names would lead elsewhere, and how much of the traffic that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mesh.cli.answer import Answer, count, entries, number, section, text, texts, yes
from mesh.cli.printing import show

if TYPE_CHECKING:
    from rich.table import Table

MOST_ROWS = 50
SAID = {
    "empty": "no endpoint",
    "neg": "no such name",
    "fail": "refused by the table",
    "pending": "not known yet",
    "broken": "can't be followed",
}


def percent(share: float | None) -> str:
    """Two digits are enough; what is there is never shown as 0."""
    if not share:
        return "0 %"
    return f"{share:.0%}".replace("%", " %") if share >= 0.1 else f"{share * 100:.2g} %"


def print_preview(preview: Answer) -> None:
    changed, unknown = entries(preview, "changed"), entries(preview, "unknown")
    typer.echo(_summary(preview, len(changed)))
    if changed:
        show(_table(changed[:MOST_ROWS]))
    for row in unknown[:MOST_ROWS]:
        typer.echo(f"? {text(row, 'name')}: not known where it would lead: {text(row, 'reason')}")
    for url, reason in section(preview, "silent").items():
        typer.echo(f"? the names in use at the replica {url} are not in this preview: {reason}")
    if (more := max(0, len(changed) - MOST_ROWS) + max(0, len(unknown) - MOST_ROWS)) > 0:
        typer.echo(f"… and {more} more; `-o json` shows all")


def refused(preview: Answer) -> str | None:
    """Why it needs --yes."""
    if not yes(preview, "refused"):
        return None
    limit, moved, unknown = (number(preview, key) or 0 for key in ("limit", "moved_share", "unknown_share"))
    moves = f"{percent(moved)} of {_counted(preview)} would move"
    if silent := section(preview, "silent"):
        return f"{moves}, and of {len(silent)} of the replicas the names in use are not known. --yes makes it anyway"
    if unknown:
        moves += f", of {percent(unknown)} it is not known"
    return f"{moves}: more than the limit of {percent(limit)}. Look at the preview; --yes makes it anyway"


def breaks(preview: Answer, name: str) -> str | None:
    """What would become of a name that is bound now and would not be any more."""
    rows = (row for row in entries(preview, "changed") if text(row, "name") == name and yes(row, "breaks"))
    return next((text(row, "outcome_after") for row in rows), None)


def _summary(preview: Answer, changed: int) -> str:
    names = count(preview, "names")
    if not changed and not entries(preview, "unknown"):
        return f"names in use: {names}; none would lead elsewhere"
    moved = f"moved: {percent(number(preview, 'moved_share'))} of {_counted(preview)}"
    return f"names in use: {names}; changed: {changed}; {moved}"


def _counted(preview: Answer) -> str:
    return "the names in use" if text(preview, "by", "requests") == "names" else "the requests"


def _table(rows: list[Answer]) -> Table:
    from rich.table import Column, Table

    wide = (Column(head, overflow="fold") for head in ("NAME", "BEFORE", "AFTER"))
    table = Table(*wide, "ENDPOINTS", "MOVES", "OF ALL", box=None, pad_edge=False)
    for row in rows:
        mark = "✗ " if yes(row, "breaks") else ""
        endpoints = f"{count(row, 'before_endpoints')} → {count(row, 'after_endpoints')}"
        shares = (percent(number(row, key)) for key in ("moves", "share"))
        table.add_row(mark + _name(row), _end(row, "before"), _after(row), endpoints, *shares)
    return table


def _name(row: Answer) -> str:
    agents = texts(row, "agents")
    return f"{text(row, 'name')} (on {', '.join(agents)})" if agents else text(row, "name")


def _end(row: Answer, which: str) -> str:
    leads, outcome = text(row, which), text(row, f"outcome_{which}", "bound")
    return leads if outcome == "bound" else f"{leads}: {SAID.get(outcome, outcome)}"


def _after(row: Answer) -> str:
    settings, note = texts(row, "settings"), text(row, "note", "")
    besides = [f"settings: {', '.join(settings)}"] if settings else []
    besides += [note] if note else []
    besides += [f"copies to {text(copy, 'to')}: {text(copy, 'after')}" for copy in entries(row, "copies")]
    return "; ".join([_end(row, "after"), *besides])
