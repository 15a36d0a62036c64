"""The files of `tieline apply`: what is to be in force in which namespace, for keeping in git.

    namespace: default
    dtab: |                      # or dtab_file: names.dtab
      /svc => /#/consul/dc1
    policies:                    # or policies_file: policies.yaml
    - {match: /svc/users, timeout: {request: 5s}}
    why: ticket 4711

Several in one file stand behind `---`. A text that a document does not have stays as it is in force.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from mesh.cli.answer import Answer, count, text
from mesh.cli.versions import Written
from mesh.config import document, reading, wording
from mesh.config.document import Document, Loc
from mesh.config.problem import Problem
from mesh.config.report import Report, line_start

KEYS = ("namespace", "dtab", "dtab_file", "policies", "policies_file", "why")
_TEXTS = ("namespace", "dtab", "dtab_file", "policies_file", "why")
_EXAMPLE = "Write for example `namespace: default` and `dtab_file: names.dtab`"
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Text:
    """All of `file`; or, with `document`, its value at `loc`; or from so many lines `below` the file's beginning on,
    `indented` by so many columns."""

    text: str
    file: str
    document: Document | None = None
    loc: Loc = ()
    below: int = 0
    indented: int = 0

    def place(self, line: int, column: int) -> str:
        if self.document is None:
            return f"{self.file}:{line + self.below}:{column + self.indented}"
        place = self.document.within(self.loc, line_start(self.text, line) + max(column - 1, 0))
        return f"{self.file}:{place.line}:{place.column}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One document. `where`: file and line at which it begins."""

    namespace: str
    where: str
    dtab: Text | None = None
    policies: Text | None = None
    why: str = ""

    @property
    def content(self) -> Written:
        return Written(self.dtab.text if self.dtab else None, self.policies.text if self.policies else None)

    def placed(self, problem: Answer) -> str:
        """Where a problem of the control plane stands in the files."""
        written = self.policies if text(problem, "where") == "policies" else self.dtab
        if written is None:
            return f"{self.where}: the {text(problem, 'where')} in force, line {count(problem, 'line')}"
        return written.place(count(problem, "line"), count(problem, "column"))


class BadFiles(Exception):
    """The text is every problem, a line each."""


def wanted(files: list[Path], namespace: str) -> list[Wanted]:
    """`namespace`: of documents that name none. Raises BadFiles."""
    problems: list[str] = []
    found: list[Wanted] = []
    for file in _each(files, problems):
        try:
            written = reading.text(file)
        except reading.Unreadable as error:
            problems.append(str(error.problem))
            continue
        for part in _documents(written):
            reader = _Reader(file, part, namespace)
            found += reader.read()
            problems += map(str, reader.problems)
    problems += _doubles(found)
    if not found and not problems:
        problems.append(f"{', '.join(map(str, files))}: no document. {_EXAMPLE}")
    if problems:
        raise BadFiles("\n".join(problems))
    return found


def _each(files: list[Path], problems: list[str]) -> Iterator[Path]:
    for file in files:
        if not file.is_dir():
            yield file
            continue
        inside = sorted(each for each in file.iterdir() if each.suffix in (".yaml", ".yml") and each.is_file())
        if not inside:
            problems.append(f"{file}: no file in it ends with .yaml or .yml")
        yield from inside


def _documents(written: str) -> Iterator[str]:
    """Each behind as many empty lines as stand before it, so that its positions are those of the file."""
    starts = [0, *(found.end() for found in _SEPARATOR.finditer(written))]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        body = written[start:end]
        if end is not None:
            body = body.removesuffix("---")
        if re.search(r"^[^\S\n]*[^#\s]", body, re.MULTILINE):
            yield "\n" * written.count("\n", 0, start) + body


class _Reader:
    """One document. What can't be used is a problem."""

    def __init__(self, file: Path, written: str, namespace: str) -> None:
        self._file, self._namespace = file, namespace
        self._document = document.read(written)
        self._report = Report(str(file), self._document)
        self._elsewhere: list[Problem] = []

    @property
    def problems(self) -> list[Problem]:
        return [*self._report.problems, *self._elsewhere]

    def read(self) -> list[Wanted]:
        self._report.flaws()
        value = self._document.value
        if not isinstance(value, dict):
            self._report.value((), "keys expected", _EXAMPLE)
            return []
        self._check(value)
        if self._report.problems:
            return []
        dtab, policies = self._text("dtab", value), self._text("policies", value)
        if dtab is None and policies is None and not self._elsewhere:
            self._report.value((), "neither a table nor policies", _EXAMPLE)
        line = self._document.position(()).line
        namespace, why = str(value.get("namespace") or self._namespace), str(value.get("why") or "")
        return [] if self.problems else [Wanted(namespace, f"{self._file}:{line}", dtab, policies, why)]

    def _check(self, value: dict[str, document.Value]) -> None:
        for key in value:
            if key not in KEYS:
                self._report.key((key,), "unknown key", wording.unknown(key, list(KEYS)))
        for key in _TEXTS:
            if not isinstance(value.get(key, ""), str):
                self._report.value((key,), "text expected", "Quote it if it is meant")
        for key in ("dtab", "policies"):
            if key in value and f"{key}_file" in value:
                self._report.key((f"{key}_file",), f"`{key}` stands here, too", "Remove one of the two")
        if not isinstance(value.get("policies", ""), str | list):
            self._report.value(("policies",), "a list of policies expected", "Begin each entry with `- match: …`")
        namespace = value.get("namespace", self._namespace)
        if isinstance(namespace, str) and not _NAMESPACE.fullmatch(namespace):
            self._report.value(("namespace",), "letters, digits, - and _ expected", "Write another name")

    def _text(self, key: str, value: dict[str, document.Value]) -> Text | None:
        if f"{key}_file" in value:
            return self._from_file(self._file.parent / str(value[f"{key}_file"]))
        if key not in value:
            return None
        written = value[key]
        if isinstance(written, list):
            return self._list((key,))
        return Text(str(written), str(self._file), self._document, (key,))

    def _from_file(self, file: Path) -> Text | None:
        try:
            return Text(reading.text(file), str(file))
        except reading.Unreadable as error:
            self._elsewhere.append(error.problem)
            return None

    def _list(self, loc: Loc) -> Text:
        """As it was written, with its comments."""
        node = self._document.nodes[loc]
        written, start = self._document.text, node.start_mark
        if isinstance(node, yaml.SequenceNode) and node.flow_style:
            return Text(written[start.index : node.end_mark.index] + "\n", str(self._file), below=start.line)
        body = textwrap.dedent(written[start.index - start.column : node.end_mark.index]).rstrip() + "\n"
        return Text(body, str(self._file), below=start.line, indented=start.column)


def _doubles(found: list[Wanted]) -> Iterator[str]:
    first: dict[str, Wanted] = {}
    for each in found:
        if (earlier := first.setdefault(each.namespace, each)) is not each:
            yield f"{each.where}: the namespace {each.namespace!r} stands at {earlier.where}, too. Write it once"
