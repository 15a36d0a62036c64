"""Two texts, compared for people."""

from __future__ import annotations

import difflib

import typer

from mesh.cli.versions import PARTS, Version, Written

_COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}


def unified(before: str, after: str, named: str, then: str) -> list[str]:
    """Without line ends; empty: they are the same."""
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), named, then, lineterm=""))


def show(lines: list[str]) -> None:
    """In colours on a terminal."""
    for line in lines:
        heading = line.startswith(("+++", "---"))
        typer.secho(line, fg=None if heading else _COLOURS.get(line[:1]), bold=heading or None)


def lines(before: Version, after: Version) -> list[str]:
    """What `after` changes of both texts."""
    return against(before, Written(after.dtab, after.policies), f"version {after.number}")


def against(before: Version, content: Written, then: str) -> list[str]:
    found: list[str] = []
    for part in PARTS:
        if (text := content.text(part)) is not None:
            found += unified(part.of(before), text, f"{part.word} of {before.shown}", f"{part.word} of {then}")
    return found


def in_a_word(before: Version | None, after: Version) -> str:
    """`+2 -1 dentries, policies`."""
    if not after.exists:
        return "deleted"
    if before is None or not before.exists:
        return "created"
    said = [_lines(before.dtab, after.dtab)] if before.dtab != after.dtab else []
    said += ["policies"] if before.policies != after.policies else []
    return ", ".join(said) or "nothing"


def _lines(before: str, after: str) -> str:
    changed = unified(before, after, "", "")[2:]
    return f"table +{sum(line[:1] == '+' for line in changed)} -{sum(line[:1] == '-' for line in changed)}"
