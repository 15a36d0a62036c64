"""Collects the problems of one file, each with its place in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from discovery.path import Path, PathSyntaxError
from mesh.config import wording
from mesh.config.checks import Finding
from mesh.config.document import Document, Loc, Position, at
from mesh.config.problem import Problem
from mesh.naming.dtab import Dentry, Dtab, DtabSyntaxError


@dataclass(frozen=True, slots=True)
class Table:
    """The delegation table as it was written; `file` if in a file of its own."""

    text: str = ""
    file: str = ""


class Report:
    def __init__(self, file: str, document: Document) -> None:
        self._file = file
        self._document = document
        self._flawed: list[Loc] = []
        self.problems: list[Problem] = []

    def flaws(self) -> None:
        for flaw in self._document.flaws:
            self._add(flaw.position, flaw.loc, flaw.message, flaw.hint)
            self._flawed.append(flaw.loc)

    def value(self, loc: Loc, message: str, hint: str) -> None:
        """The value at `loc` is wrong; or its container, if there is none."""
        self._add(self._document.position(loc), loc, message, hint)

    def key(self, loc: Loc, message: str, hint: str) -> None:
        self._add(self._document.key_position(loc), loc, message, hint)

    def _add(self, position: Position, loc: Loc, message: str, hint: str) -> None:
        # What could not be read as YAML is reported once, not again for what it lacks.
        if not any(flawed and loc[: len(flawed)] == flawed for flawed in self._flawed):
            self.problems.append(Problem(self._file, position.line, position.column, wording.show(loc), message, hint))

    def refused(self, error: ErrorDetails, model: type[BaseModel], above: Loc) -> None:
        """`model` was given what stands at `above`, and did not accept it."""
        loc: Loc = (*above, *error["loc"])
        if error["type"] == "too_short" and error["input"]:
            return  # pydantic counts the entries it accepted; what is wrong with the others is said beside them
        hint = wording.hint(error, model, loc[len(above) :])
        if error["type"] not in ("missing", "extra_forbidden"):
            # pydantic adds the names of tried alternatives; the file does not have those.
            while loc not in self._document.nodes and len(loc) > len(above):
                loc = loc[:-1]
        self._add(self._place(error, loc), loc, wording.message(error), hint)

    def found(self, findings: Iterable[Finding], table: Table) -> list[Problem]:
        return [self._finding(finding, table) for finding in findings]

    def placed(self, dtab: Dtab, table: Table) -> Dtab:
        """The same table, each dentry knowing file and line as its reader sees them."""
        return Dtab(self._dentry(dentry, table) for dentry in dtab)

    def _dentry(self, dentry: Dentry, table: Table) -> Dentry:
        if table.file:
            return replace(dentry, where=table.file)
        line = self._document.within(("dtab",), line_start(table.text, dentry.line)).line
        return replace(dentry, where=self._file, line=line)

    def _place(self, error: ErrorDetails, loc: Loc) -> Position:
        if error["type"] == "extra_forbidden":
            return self._document.key_position(loc)
        match error.get("ctx", {}).get("error"):
            case PathSyntaxError(position=offset):
                return self._document.within(loc, offset)
            case DtabSyntaxError() as wrong:
                return self._document.within(loc, wrong.position)
        return self._document.position(loc)

    def _finding(self, finding: Finding, table: Table) -> Problem:
        if finding.line is not None and table.file:
            place = in_table(table.text, finding.line, finding.path)
            return Problem(table.file, place.line, place.column, "", finding.message, finding.hint)
        place, message = self._document.position(finding.loc), finding.message
        if finding.line is not None:
            place = in_table(self._document.text, finding.line, finding.path)
        if finding.earlier in self._document.nodes:
            message += f" (line {self._document.position(finding.earlier).line})"
        return Problem(self._file, place.line, place.column, wording.show(finding.loc), message, finding.hint)


def in_table(text: str, line: int, path: Path | None) -> Position:
    """Where a dentry of `line` names `path`; where that line begins, if it is written in another way."""
    pattern = rf"{re.escape(path.show())}(?![0-9A-Za-z_:.#$%/\\-])" if path is not None else r"\S"
    found = re.compile(pattern).search(text, line_start(text, line))
    return at(text, found.start()) if found else Position(line, 1)


def line_start(text: str, line: int) -> int:
    return sum(len(each) + 1 for each in text.split("\n")[: line - 1])
