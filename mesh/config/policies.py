"""The list of policies in a file of its own, and where each of its keys stands."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

from pydantic import ValidationError

from mesh.config import document, reading
from mesh.config.document import Document, Loc
from mesh.config.problem import Problem
from mesh.config.report import Report
from mesh.policy.entry import PolicyEntry

_EXAMPLE = "Write for example `- {match: /svc/users, timeout: {request: 5s}}`"


def from_file(file: pathlib.Path) -> tuple[tuple[PolicyEntry, ...], list[Problem]]:
    """Raises reading.Unreadable. With problems there may be entries missing."""
    return from_text(reading.text(file), str(file), file.parent)


def from_text(text: str, file: str, folder: pathlib.Path) -> tuple[tuple[PolicyEntry, ...], list[Problem]]:
    """`file`: what the text is called in problems; `folder`: what files that it names are relative to."""
    read = document.read(text)
    report = Report(file, read)
    report.flaws()
    entries: list[PolicyEntry] = []
    if isinstance(read.value, list):
        for index, value in enumerate(read.value):
            try:
                entries.append(PolicyEntry.model_validate(value, context={"folder": folder}))
            except ValidationError as error:
                for details in error.errors(include_url=False):
                    report.refused(details, PolicyEntry, (index,))
    elif read.value is not None:
        report.value((), "a list of policies expected", _EXAMPLE)
    return placed(entries, read, file, ()), report.problems


def placed(entries: Iterable[PolicyEntry], read: Document, file: str, above: Loc) -> tuple[PolicyEntry, ...]:
    lines = _lines(read, above)
    return tuple(entry.placed(file, lines.get(index, {})) for index, entry in enumerate(entries))


def _lines(read: Document, above: Loc) -> dict[str | int, dict[str, int]]:
    """Of each entry, by its index: the lines of its keys."""
    depth = len(above)
    found: dict[str | int, dict[str, int]] = {}
    for loc, place in read.keys.items():
        key = loc[depth + 1 :]
        # What stands in a list has the place of its list.
        if loc[:depth] == above and key and not any(isinstance(step, int) for step in key):
            found.setdefault(loc[depth], {})[".".join(map(str, key))] = place.line
    return found
