"""What policies say of a name, and which entry said it, in lines."""

from __future__ import annotations

import json

from mesh.cli.answer import Answer, entries, number, section, text


def policies(answer: Answer) -> list[str]:
    """Empty when all is as the defaults say; `-o json` shows these, too."""
    rows = [("", row) for row in entries(answer, "policy") if text(row, "match", "")]
    for id in section(answer, "endpoints"):
        known = section(section(answer, "endpoints"), id)
        rows += [(f"{id}  ", row) for row in entries(known, "policy")]
    if not rows:
        return []
    told = [(f"{of}{text(row, 'key')}: {json.dumps(row['value'])}", _origin(row)) for of, row in rows]
    width = max(len(said) for said, _ in told)
    return ["policy", *(f"  {said:<{width}}   [{origin}]" for said, origin in told)]


def mirrors(answer: Answer) -> list[str]:
    """Who gets copies of the requests, and where that leads."""
    return [
        f"mirror {number(each, 'percent') or 0:g} % to {text(each, 'to')}: {text(each, 'outcome')}"
        + "".join(f"  {id} ({len(entries(section(each, 'endpoints'), id))})" for id in section(each, "endpoints"))
        for each in entries(answer, "mirrors")
    ]


def _origin(row: Answer) -> str:
    if not text(row, "match", ""):
        return "default"
    where, line = text(row, "where", ""), text(row, "line", "")
    return "  ".join(part for part in (f"{where}:{line}" if line else where, text(row, "match")) if part)
