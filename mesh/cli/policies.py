"""What policies say of a name, and which entry said it, in lines."""

from __future__ import annotations

import json

from mesh.cli.answer import Answer, entries, section, text


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


def _origin(row: Answer) -> str:
    if not text(row, "match", ""):
        return "default"
    where, line = text(row, "where", ""), text(row, "line", "")
    return "  ".join(part for part in (f"{where}:{line}" if line else where, text(row, "match")) if part)
