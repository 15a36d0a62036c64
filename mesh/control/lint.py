"""What is wrong with a table and its policies, said before they are stored. Pure.

Each finding has a code that stays the same, whatever its words. Errors refuse the store, the others don't.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Literal

from discovery.path import Path, encode_label
from mesh.config import policies as policies_file
from mesh.config import wording
from mesh.config.report import in_table
from mesh.config.table import leaves, remarks, unknown_sources
from mesh.control.preview import Preview
from mesh.control.version import Content
from mesh.naming import utility
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab
from mesh.naming.pattern import Pattern
from mesh.naming.prefix import Element, Index, Prefix, Wildcard
from mesh.policy.effective import written
from mesh.policy.entry import PolicyEntry

Level = Literal["error", "warning", "info"]
Where = Literal["dtab", "policies"]
CODES: Mapping[str, str] = {
    "TL001": "the table does not read",
    "TL002": "names are rewritten in a circle",
    "TL003": "a dentry, or an alternative, that no name can ever take",
    "TL004": "a path that leads to no source, of the control plane or of an agent",
    "TL005": "a path under /$/ that no namer answers for",
    "TL006": "a name in use that would lead nowhere",
    "TL007": "the table is empty",
    "TL101": "the policies do not read",
    "TL102": "a policy whose `match` no name can have: none in use, and none that a dentry leads on",
    "TL103": "a second policy with the same `match` that sets the same keys",
}
MOST_OF_ONE_CODE = 100
NOWHERE = ("neg", "fail", "broken")


@dataclass(frozen=True, slots=True)
class Lint:
    """`line` and `column` count from 1."""

    code: str
    level: Level
    where: Where
    line: int
    column: int
    message: str
    hint: str

    def json(self) -> dict[str, object]:
        return {
            "code": self.code,
            "level": self.level,
            "where": self.where,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class Read:
    """What could be read of a content, and what was wrong with it. None: it could not be read."""

    dtab: Dtab | None
    policies: Sequence[PolicyEntry] | None
    lints: Sequence[Lint]


def read(content: Content, folder: File = File()) -> Read:
    """`folder`: what files that policies name are relative to."""
    lints: list[Lint] = []
    dtab: Dtab | None = None
    try:
        dtab = parse_dtab(content.dtab)
    except DtabSyntaxError as error:
        message = wording.misread(error)
        lints.append(Lint("TL001", "error", "dtab", error.line, error.column, message, wording.DTAB_HINT))
    entries, problems = policies_file.from_text(content.policies, "policies", folder)
    for each in problems:
        message = f"{each.key}: {each.message}" if each.key else each.message
        lints.append(Lint("TL101", "error", "policies", each.line, each.column, message, each.hint))
    return Read(dtab, None if problems else entries, lints)


def lint(
    content: Content, known: Read, roots: Sequence[Path], names: Sequence[Path], seen: Preview | None
) -> list[Lint]:
    """`roots`: the prefixes of all sources, `names`: those in use, `seen`: what the change does to them."""
    found = list(known.lints)
    if known.dtab is not None:
        found += _of_table(content.dtab, known.dtab, roots)
    if known.policies is not None:
        found += _of_policies(known.policies, known.dtab or Dtab(), names, matched_all=known.dtab is None)
    if seen is not None:
        found += _nowhere(seen)
    return sorted(found, key=lambda each: (_LEVELS.index(each.level), each.where, each.line, each.column, each.code))


_LEVELS: Sequence[Level] = ("error", "warning", "info")


def refuses(found: Iterable[Lint]) -> bool:
    return any(each.level == "error" for each in found)


def _of_table(text: str, dtab: Dtab, roots: Sequence[Path]) -> Iterator[Lint]:
    if not dtab:
        hint = "Write for example: /svc => /#/consul/dc1"
        yield Lint("TL007", "warning", "dtab", 1, 1, "the table is empty, so that every name is missing", hint)
    for remark in remarks(dtab):
        code: tuple[str, Level] = ("TL002", "error") if remark.level == "error" else ("TL003", "warning")
        yield _in_dtab(*code, text, remark.line, None, remark.message, remark.hint)
    known = ", ".join(sorted(root.show() for root in roots)) or "none"
    for dentry, path in unknown_sources(dtab, list(roots)):
        hint = f"Correct it, or add the source; sources of the control plane and its agents: {known}"
        yield _in_dtab("TL004", "warning", text, dentry.line, path, f"{path.show()} leads to no source", hint)
    for dentry in dtab:
        for path in leaves(dentry.tree):
            if len(path) > 1 and path[0] == "$" and not utility.is_known(path[1]):
                hint = "The manual lists what there is under /$/"
                message = f"there is no namer /$/{path[1]}"
                yield _in_dtab("TL005", "error", text, dentry.line, path, message, hint)


def _in_dtab(code: str, level: Level, text: str, line: int, path: Path | None, message: str, hint: str) -> Lint:
    place = in_table(text, line, path)
    return Lint(code, level, "dtab", place.line, place.column, message, hint)


def _of_policies(
    entries: Sequence[PolicyEntry], dtab: Dtab, names: Sequence[Path], *, matched_all: bool
) -> Iterator[Lint]:
    prefixes: list[Prefix] = [dentry.prefix for dentry in dtab]
    # What a namer under /$/ makes of a name may be anything.
    prefixes += [() if _rewrites(path) else path for dentry in dtab for path in leaves(dentry.tree)]
    reach = Reach(prefixes, names)
    before: dict[str, PolicyEntry] = {}
    for entry in entries:
        line = entry.entry.lines.get("match", 1)
        if not (matched_all or reach.has(entry.match)):
            message = f"no name in use has {entry.match}, and no dentry leads there"
            yield Lint("TL102", "info", "policies", line, 1, message, "Correct `match`, or remove the policy")
        earlier = before.get(entry.match)
        both = [key for key in written(entry) if earlier is not None and key in set(written(earlier)) - {"match"}]
        if earlier is not None and both:
            message = f"a second policy for {entry.match} sets {', '.join(both)} again: this one wins"
            hint = f"Keep one of the two; the other is in line {earlier.entry.lines.get('match', 1)}"
            yield Lint("TL103", "warning", "policies", line, 1, message, hint)
        before[entry.match] = entry


class Reach:
    """What names there may be: those in use, and whatever begins as a dentry or its tree does.

    A `match` without `*` and captures, as nearly all are, is looked up; others are compared with everything.
    """

    def __init__(self, prefixes: Sequence[Prefix], names: Sequence[Path]) -> None:
        self._prefixes = list(dict.fromkeys(prefixes))
        self._names = names
        self._shown = {_shown(name)[:length] for name in names for length in range(len(name) + 1)}
        whole = {_texts(prefix): True for prefix in self._prefixes}
        parts = {key[:length]: False for key in whole for length in range(len(key))}
        self._index = Index((prefix, (len(prefix), ends)) for prefix, ends in {**parts, **whole}.items())

    def has(self, match: str) -> bool:
        pattern = Pattern(match)
        texts = pattern.prefix
        path = tuple(text for text in texts if not isinstance(text, Wildcard))
        if len(path) == len(texts):
            found, _ = self._index.scan(path)
            return path in self._shown or any(ends or length == len(path) for length, ends in found)
        if any(pattern.captures(name) is not None for name in self._names):
            return True
        elements = [Pattern(f"/{text}") for text in match.strip("/").split("/")]
        return any(meet(elements, prefix) for prefix in self._prefixes)


def _shown(name: Path) -> tuple[str, ...]:
    return tuple(map(encode_label, name))


def _texts(prefix: Prefix) -> Prefix:
    return tuple(each if isinstance(each, Wildcard) else encode_label(each) for each in prefix)


def _rewrites(path: Path) -> bool:
    return path[:1] == ("$",) and path[1:2] not in (("inet",), ("fixedinet",), ("nil",), ("fail",))


def meet(elements: Sequence[Pattern], prefix: Sequence[Element]) -> bool:
    """Whether a path that begins with `prefix` may match."""
    return all(
        isinstance(element, Wildcard) or pattern.captures((element,)) is not None
        for pattern, element in zip(elements, prefix, strict=False)
    )


def _nowhere(seen: Preview) -> Iterator[Lint]:
    lost = [effect for effect in seen.effects if effect.after.outcome in NOWHERE and effect.before.outcome == "bound"]
    for effect in lost[:MOST_OF_ONE_CODE]:
        name = effect.use.path.show()
        message = (
            f"{name} is in use ({effect.rate:.3g} requests/s) and would lead nowhere: {_why(effect.after.outcome)}"
        )
        hint = f"It leads to {effect.before.tree} now; add an entry for it, or say `yes` if that is meant"
        yield Lint("TL006", "warning", "dtab", 1, 1, message, hint)


def _why(outcome: str) -> str:
    return {"neg": "no such name", "fail": "refused by `!`", "broken": "the table can't be followed"}[outcome]
