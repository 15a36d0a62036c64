"""A binding, explained: as JSON in the shape of Linkerd 1's delegate tree, as a short trail, as text for a terminal.

Each node has `type` (delegate, alt, union, leaf, neg, fail, empty, exception; ours: pending) and `path`, and `dentry`
where one led to it. Added to Linkerd's keys: `taken` on the way that won, `verdict` where a way ends, `line` and
`where` of the dentry, and where a way ends at a source, `source` and the `state` of the name there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from discovery.address import Bound, Failed, Known, Pending, State
from discovery.path import Path
from mesh.naming.bind import Binding, has_endpoint
from mesh.naming.dtab import Dentry
from mesh.naming.show import show_prefix, show_tree, show_weight
from mesh.naming.trace import Grade, Kind, Step
from mesh.naming.tree import BoundName

AskState = Callable[[Path], State]


@dataclass(frozen=True, slots=True)
class Asked:
    """The source that a name is asked of, as JSON. `held_since`: seconds since the epoch; None: it is not held."""

    source: Mapping[str, object]
    held_since: float | None


AskSource = Callable[[Path], Asked | None]

OUTCOMES: Final = {
    Grade.LIVE: "bound",
    Grade.LOST: "bound",
    Grade.DEAD: "empty",
    Grade.EMPTY: "empty",
    Grade.NEG: "neg",
    Grade.FAIL: "fail",
    Grade.WAITING: "pending",
    Grade.BROKEN: "broken",
}
"""What came of a binding, in the words of every answer that tells of it."""

TRAIL: Final = 12
"""Lines."""
DEEPEST: Final = 150
"""What lies deeper is not shown: the JSON of a table that rewrites in a circle must still be readable by a parser."""
NODES: Final = 5_000
INDENTS: Final = 12
"""Of what lies deeper, text shows the ends only."""

_ANSWERS = (Grade.LIVE, Grade.LOST, Grade.DEAD, Grade.EMPTY, Grade.FAIL)
_TYPES = {
    Grade.EMPTY: "empty",
    Grade.NEG: "neg",
    Grade.FAIL: "fail",
    Grade.WAITING: "pending",
    Grade.BROKEN: "exception",
}
_WRITTEN = {Grade.EMPTY: "$", Grade.NEG: "~", Grade.FAIL: "!"}


def _nowhere(_name: Path) -> None:
    return None


def explain(binding: Binding, state: AskState, source: AskSource = _nowhere) -> dict[str, object]:
    """JSON-able. `state` and `source` tell how fresh the names are and of whom; bind with `exhaustive=True` to see
    every alternative."""
    return _Explainer(state, source, binding.wanted).node(binding.trace, taken=binding.grade in _ANSWERS, depth=0)


class _Explainer:
    def __init__(self, state: AskState, source: AskSource, wanted: frozenset[Path]) -> None:
        self._state, self._source, self._wanted = state, source, wanted
        self._longest = max(map(len, wanted), default=0)
        self._left = NODES

    def node(self, step: Step, *, taken: bool, depth: int) -> dict[str, object]:
        self._left -= 1
        if depth > DEEPEST or self._left < 0:
            return _ended("exception", step, "not shown: the steps go on for too long")
        match step.kind:
            case Kind.LOOKUP:
                shown = self._lookup(step, taken=taken, depth=depth)
            case Kind.ALT:
                shown = self._alternatives(step, taken=taken, depth=depth)
            case Kind.UNION:
                shown = self._union(step, taken=taken, depth=depth)
            case Kind.WRITTEN:
                shown = self._end(step)
        if taken:
            shown["taken"] = True
        return shown

    def _lookup(self, step: Step, *, taken: bool, depth: int) -> dict[str, object]:
        if step.steps:
            child = self.node(step.steps[0], taken=taken, depth=depth + 1)
            # What the lookup found stands for it, unless that leads to another path.
            if child["path"] in (step.path.show(), "!"):
                return child
            return {**_head("delegate", step), "delegate": child}
        if step.name is None:
            return self._end(step)
        bound = {"id": step.name.id.show(), "path": step.name.residual.show()}
        return {**_head("leaf", step), "bound": bound, **self._known(step.name.id)}

    def _alternatives(self, step: Step, *, taken: bool, depth: int) -> dict[str, object]:
        branches: list[object] = []
        for at, branch in enumerate(step.steps):
            shown = self.node(branch, taken=taken and at == step.chosen, depth=depth + 1)
            nested = shown.get("alt")
            if shown["path"] == step.path.show() and isinstance(nested, list):
                branches += nested
            else:
                branches.append(shown)
        return {**_head("alt", step), "alt": branches}

    def _union(self, step: Step, *, taken: bool, depth: int) -> dict[str, object]:
        return {
            **_head("union", step),
            "union": [
                {"weight": weight, "tree": self.node(branch, taken=taken and _kept(branch), depth=depth + 1)}
                for weight, branch in zip(step.weights, step.steps, strict=False)
            ],
        }

    def _end(self, step: Step) -> dict[str, object]:
        if step.grade is None:
            return _ended("exception", step, step.reason or "not followed to its end")
        shown = _ended(_TYPES[step.grade], step, _verdict(step))
        if step.kind is Kind.WRITTEN and step.grade in (Grade.NEG, Grade.FAIL):
            shown["path"] = _WRITTEN[step.grade]
        asked = self._asked(step.path) if step.kind is Kind.LOOKUP else None
        return shown if asked is None else {**shown, **self._known(asked)}

    def _asked(self, path: Path) -> Path | None:
        """The name that a source was asked for: the longest, where several were."""
        beginnings = (path.take(length) for length in range(min(len(path), self._longest), 0, -1))
        return next((name for name in beginnings if name in self._wanted), None)

    def _known(self, name: Path) -> dict[str, object]:
        asked = self._source(name)
        state = describe(self._state(name), asked.held_since if asked else None)
        return {"source": asked.source, "state": state} if asked else {"state": state}


def _kept(branch: Step) -> bool:
    return branch.outcome in (Grade.LIVE, Grade.LOST, Grade.DEAD, Grade.EMPTY)


def _head(kind: str, step: Step) -> dict[str, object]:
    head: dict[str, object] = {"type": kind, "path": step.path.show()}
    if step.dentry is not None:
        dentry = step.dentry
        head["dentry"] = {"prefix": show_prefix(dentry.prefix), "dst": show_tree(dentry.tree)}
        if dentry.line:
            head["line"] = dentry.line
        if dentry.where:
            head["where"] = dentry.where
    return head


def _ended(kind: str, step: Step, verdict: str) -> dict[str, object]:
    shown = {**_head(kind, step), "verdict": verdict}
    return {**shown, "message": verdict} if kind == "exception" else shown


def describe(state: State, held_since: float | None = None) -> dict[str, object]:
    """What is known, since when and how fresh; `held`: why it is the last known good and not the present truth."""
    match state:
        case Pending(reason):
            return {"type": "pending", "reason": reason}
        case Failed(reason):
            return {"type": "failed", "reason": reason}
        case Known(addr, since, confirmed_at, held):
            known: dict[str, object] = {"type": "bound" if isinstance(addr, Bound) else "neg"}
            if isinstance(addr, Bound):
                known |= {"endpoints": len(addr.endpoints), "usable": has_endpoint(addr)}
            known |= {"since": since, "confirmed_at": confirmed_at, "held": held}
            return {**known, "held_since": held_since} if held else known


def _verdict(step: Step) -> str:
    if step.kind is Kind.WRITTEN and step.grade is not None:
        return f"the table says {_WRITTEN.get(step.grade, step.reason)}"
    match step.grade:
        case Grade.LOST:
            return f"lost ({step.reason})"
        case Grade.DEAD:
            return f"it exists, with no endpoint{f' ({step.reason})' if step.reason else ''}"
        case Grade.EMPTY:
            return "nothing behind it ($)"
        case Grade.FAIL:
            return "refused (!)"
        case _:
            return step.reason


def trail(binding: Binding) -> list[str]:
    """Every way that was tried, and why it ended: one line each, the last dentry in brackets. At most TRAIL lines."""
    lines = [_way(way) for way in islice(_ways(binding.trace), TRAIL + 1)]
    if binding.trace.grade is None and binding.trace.reason:
        lines.insert(0, binding.trace.reason)
    return lines if len(lines) <= TRAIL else [*lines[: TRAIL - 1], "… and more; explain shows all"]


def _ways(root: Step) -> Iterator[list[Step]]:
    """The lookups from the root to each end, in the order they were tried."""
    pending: list[tuple[Step, list[Step]]] = [(root, [])]
    while pending:
        step, before = pending.pop()
        if not step.steps and step.grade is not None:
            yield [*before, step]
        way = [*before, step] if step.kind is Kind.LOOKUP else before
        pending += [(branch, way) for branch in reversed(step.steps)]


def _way(way: list[Step]) -> str:
    paths = list(dict.fromkeys(step.path.show() for step in way if step.path))
    shown = [_short(path) for path in (paths if len(paths) <= 4 else [*paths[:2], "…", paths[-1]])]
    end = way[-1]
    verdict = _verdict(end) if end.grade is not Grade.LIVE else "bound"
    return f"{' -> '.join(shown)}: {_short(verdict, 200)}{_origin(end.dentry)}"


def _origin(dentry: Dentry | None) -> str:
    if dentry is None:
        return ""
    place = (
        f"line {dentry.line} of {dentry.where}: " if dentry.where else f"line {dentry.line}: " if dentry.line else ""
    )
    return f" [{place}{_short(dentry.show())}]"


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def show_binding(binding: Binding, state: AskState) -> list[str]:
    """The walk as indented lines of plain text, the way that won marked with '*'."""
    lines: list[str] = []
    pending: list[tuple[Step, int, bool, str]] = [(binding.trace, 0, binding.grade in _ANSWERS, "")]
    while pending and len(lines) < NODES:
        step, indent, taken, weight = pending.pop()
        visible = step.kind in (Kind.LOOKUP, Kind.WRITTEN)
        if indent == INDENTS and visible and step.steps:
            lines.append(f"{'*' if taken else ' '} {'  ' * indent}…")
        if visible and (indent < INDENTS or not step.steps):
            lines.append(f"{'*' if taken else ' '} {'  ' * indent}{weight}{_text(step, state)}")
            weight = ""
        following = [
            (
                branch,
                min(indent + visible, INDENTS + 1),
                taken and _on_the_way(step, at, branch),
                _share(step, at) or weight,
            )
            for at, branch in enumerate(step.steps)
        ]
        pending += reversed(following)
    return lines


def _on_the_way(step: Step, at: int, branch: Step) -> bool:
    if step.kind is Kind.ALT:
        return at == step.chosen
    return step.kind is not Kind.UNION or _kept(branch)


def _share(step: Step, at: int) -> str:
    return f"{show_weight(step.weights[at])} * " if step.kind is Kind.UNION else ""


def _text(step: Step, state: AskState) -> str:
    origin = _origin(step.dentry)
    if step.kind is Kind.WRITTEN:
        return f"{_verdict(step)}{origin}"
    if step.name is not None:
        return f"{_short(step.path.show())}{_bound(step.name, state(step.name.id))}{origin}"
    return f"{_short(step.path.show())}{f': {_verdict(step)}' if step.grade else ''}{origin}"


def _bound(name: BoundName, state: State) -> str:
    residual = f", residual {name.residual.show()}" if name.residual else ""
    if not isinstance(state, Known) or not isinstance(state.addr, Bound):
        return residual
    count = len(state.addr.endpoints)
    held = f", held: {state.held}" if state.held else ""
    return f": {count} endpoint{'s' * (count != 1)}{held}{residual}"
