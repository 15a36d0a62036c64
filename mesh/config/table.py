"""What a delegation table says that its author can't have meant. Pure; finds no mistake that depends on a platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from discovery.address import Known, State
from discovery.address import Neg as NoSuchName
from discovery.path import Path
from mesh.naming.bind import Broken, bind
from mesh.naming.dtab import Dentry, Dtab
from mesh.naming.prefix import Index, Prefix, Wildcard
from mesh.naming.trace import Step
from mesh.naming.tree import Alt, Empty, Fail, Leaf, NameTree, Union

MOST_STEPS = 100_000
"""Of all tries for circles together: a table that could be looked at for minutes would hold up all others."""


@dataclass(frozen=True, slots=True)
class Remark:
    """About the dentry in `line`. With a warning the table works, though perhaps not as meant."""

    level: Literal["error", "warning"]
    line: int
    message: str
    hint: str


def remarks(dtab: Dtab) -> list[Remark]:
    return sorted([*circles(dtab), *dead(dtab)], key=lambda remark: remark.line)


def dead(dtab: Dtab) -> Iterator[Remark]:
    """Dentries and alternatives that no name can ever take."""
    final = {dentry.prefix: (place, dentry) for place, dentry in enumerate(dtab) if _decides(dentry.tree)}
    index = Index(final.items())
    for place, dentry in enumerate(dtab):
        if any(_decides(tree) for tree in _before_last(dentry.tree)):
            yield Remark("warning", dentry.line, "alternatives after `!` or `$` are never tried", "Remove them")
        covering = [(at, later) for at, later in index.scan(_any(dentry.prefix))[0] if at > place]
        if covering:
            _, first = min(covering, key=lambda each: each[0])
            message = f"{dentry.show()} is never used: line {first.line} decides about all its names"
            yield Remark("warning", dentry.line, message, "Remove it, or move it below that line: later ones win")


def circles(dtab: Dtab) -> Iterator[Remark]:
    """Found by trying a name under each prefix while no platform knows any."""
    seen: set[frozenset[int]] = set()
    paths: set[Path] = set()
    left = MOST_STEPS
    for dentry in dtab:
        path = Path("x" if isinstance(element, Wildcard) else element for element in dentry.prefix).then(("x",))
        if path in paths:
            continue
        paths.add(path)
        if left < 0:
            message = "from here on no entry was tried for circles: those before branch too much"
            yield Remark("warning", dentry.line, message, "Write fewer alternatives of alternatives")
            return
        binding = bind(dtab, path, (), _nobody, exhaustive=True)
        left -= _size(binding.trace)
        if not isinstance(binding.tree, Broken) or binding.tree.kind != "max_depth":
            continue
        lines = _circle(binding.trace)
        if lines not in seen:
            seen.add(lines)
            if binding.trace.reason:
                message = f"{path.show()} can't be followed: {binding.trace.reason}"
                yield Remark("error", dentry.line, message, "Let it branch less")
                continue
            through = f"line{'s' * (len(lines) > 1)} {', '.join(map(str, sorted(lines)))}"
            message = f"{path.show()} is rewritten in a circle, through {through}"
            yield Remark("error", dentry.line, message, "Let one of these lead elsewhere")


def unknown_sources(dtab: Dtab, roots: list[Path]) -> Iterator[tuple[Dentry, Path]]:
    """Paths under `/#` that no source answers for, each once."""
    seen: set[Path] = set()
    for dentry in dtab:
        for path in leaves(dentry.tree):
            if path[:1] == ("#",) and path not in seen and not any(_meet(path, root) for root in roots):
                seen.add(path)
                yield dentry, path


def _meet(path: Path, root: Path) -> bool:
    # A leaf shorter than the prefix may still reach it, by what the name adds: /svc => /#
    return path.startswith(root) or root.startswith(path)


def leaves(tree: NameTree[Path]) -> Iterator[Path]:
    match tree:
        case Leaf(path):
            yield path
        case Alt(trees):
            for each in trees:
                yield from leaves(each)
        case Union(branches):
            for branch in branches:
                yield from leaves(branch.tree)
        case _:
            pass


def _nobody(_path: Path) -> State:
    return Known(NoSuchName(), 0, 0)


def _decides(tree: NameTree[Path]) -> bool:
    """It can't come to `~`, whatever the platforms know."""
    match tree:
        case Fail() | Empty():
            return True
        case Alt(trees):
            return any(_decides(each) for each in trees)
        case Union((only,)):
            return _decides(only.tree)
        case Union(branches):
            return any(isinstance(branch.tree, Empty) for branch in branches)
        case _:
            return False


def _before_last(tree: NameTree[Path]) -> tuple[NameTree[Path], ...]:
    return tree.trees[:-1] if isinstance(tree, Alt) else ()


def _any(prefix: Prefix) -> tuple[str, ...]:
    """A path of all that the prefix matches: no segment is empty, so only a wildcard covers a wildcard."""
    return tuple("" if isinstance(element, Wildcard) else element for element in prefix)


def _size(trace: Step) -> int:
    steps, count = [trace], 0
    while steps:
        count += 1
        steps += steps.pop().steps
    return count


def _circle(trace: Step) -> frozenset[int]:
    """The lines that the end of the walk, which is where it went round, used more than once."""
    lines: list[int] = []
    step: Step | None = trace
    while step is not None:
        if step.dentry is not None:
            lines.append(step.dentry.line)
        step = next((each for each in step.steps if each.outcome is not None), None)
    return frozenset(line for line in lines if lines.count(line) > 2) or frozenset(lines)
