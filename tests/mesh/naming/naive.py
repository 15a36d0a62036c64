"""A second evaluator, to check `mesh.naming.bind` against: plain recursion over the rules, no index, stack or trace.

A result is '~', '!', '$', ('leaf', id, residual) or ('union', ((weight, result), ...)); Pending and Broken are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from discovery import address
from discovery.path import Path
from mesh.naming.dtab import Dtab
from mesh.naming.prefix import WILDCARD
from mesh.naming.tree import Alt, Empty, Fail, Leaf, NameTree, Neg, Union

Result = Any
FOUND_BY_RULE = ("$", "nil"), ("$", "fail")


class Pending(Exception):
    def __init__(self, paths: set[Path]) -> None:
        self.paths = paths


class Broken(Exception):
    def __init__(self, kind: str) -> None:
        self.kind = kind


class TooMuch(Exception):
    """This case would take the naive way too long."""


@dataclass
class Naive:
    """`namers`: prefix and how many segments a name has after it, in the order of the configuration."""

    dtab: Dtab
    namers: Sequence[tuple[Path, int]]
    state: Callable[[Path], address.State]
    max_depth: int
    pass_empty: bool
    unanswered_is_missing: bool
    asked: set[Path] = field(default_factory=set)
    lookups: int = 0

    def bind(self, tree: NameTree[Path], depth: int = 0) -> Result:
        match tree:
            case Neg():
                return "~"
            case Fail():
                return "!"
            case Empty():
                return "$"
            case Leaf(path):
                found = self.lookup(path)
                if depth + 1 > self.max_depth:
                    raise Broken("max_depth")
                if isinstance(found, tuple | str):
                    return found
                return self.bind(found, depth + 1)
            case Alt(trees):
                return self.first(list(trees), depth)
            case Union(branches):
                return self.all([(branch.weight, branch.tree) for branch in branches], depth)

    def lookup(self, path: Path) -> Any:
        """A tree of paths, or a final result."""
        self.lookups += 1
        if self.lookups > 100:
            raise TooMuch
        trees = []
        for dentry in reversed(self.dtab.dentries):
            size = len(dentry.prefix)
            if size <= len(path) and all(
                dentry.prefix[n] is WILDCARD or dentry.prefix[n] == path[n] for n in range(size)
            ):
                trees.append(with_rest(dentry.tree, path[size:]))
        if len(trees) >= 2:
            return Alt(tuple(trees))
        if len(trees) == 1 and trees[0] != Neg():
            return trees[0]
        return self.named(path)

    def named(self, path: Path) -> Any:
        for prefix, segments in reversed(self.namers):
            rest = path[len(prefix) :]
            if path[: len(prefix)] == prefix and len(rest) >= segments:
                found = self.observed(Path((*prefix, *rest[:segments])), Path(rest[segments:]))
                if found != "~":
                    return found
        if path[:2] in FOUND_BY_RULE:
            return "$" if path[1] == "nil" else "!"
        if path[:1] == ("$",) and len(path) > 1:
            if path[1] == "inet" and len(path) > 2 and path[2] == "1":
                return self.observed(Path(path[:3]), Path(path[3:]))
            raise Broken("unknown_namer")
        return "~"

    def observed(self, name: Path, residual: Path) -> Result:
        self.asked.add(name)
        match self.state(name):
            case address.Known(address.Bound()):
                return ("leaf", name, residual)
            case address.Known(address.Neg()):
                return "~"
            case address.Pending():
                raise Pending({name})
            case address.Failed():
                if self.unanswered_is_missing:
                    return "~"
                raise Broken("namer_failed")

    def first(self, trees: list[NameTree[Path]], depth: int) -> Result:
        """The first that is not `~`; with `pass_empty` one with endpoints is better than one known to have none."""
        second_best = None
        for tree in trees:
            try:
                found = self.bind(tree, depth)
            except Broken:
                if second_best is None:
                    raise
                return second_best
            if found == "~":
                continue
            if self.pass_empty and names(found) and not self.lives(found):
                second_best = second_best or found
                continue
            return found if self.lives(found) or second_best is None else second_best
        return second_best or "~"

    def all(self, branches: list[tuple[float, NameTree[Path]]], depth: int) -> Result:
        if len(branches) == 1:
            return self.bind(branches[0][1], depth)
        ready: list[tuple[float, Result]] = []
        pending: set[Path] = set()
        broken: list[Broken] = []
        for weight, tree in branches:
            try:
                ready.append((weight, self.bind(tree, depth)))
            except Pending as waiting:
                pending |= waiting.paths
            except Broken as error:
                broken.append(error)
        if self.unanswered_is_missing and pending and not any(self.lives(found) for _, found in ready):
            raise Pending(pending)
        if branches and not ready:
            raise broken[0] if broken else Pending(pending)
        kept = tuple((weight, found) for weight, found in ready if found not in ("~", "!"))
        if self.pass_empty and any(self.lives(found) for _, found in kept):
            kept = tuple((weight, found) for weight, found in kept if self.lives(found) or not names(found))
        if not kept:
            return "~"
        return kept[0][1] if len(kept) == 1 else ("union", kept)

    def lives(self, found: Result) -> bool:
        """Something in it can be called."""
        for name in names(found):
            state = self.state(name)
            assert isinstance(state, address.Known)
            assert isinstance(state.addr, address.Bound)
            healthy = (address.Health.UNKNOWN, address.Health.HEALTHY)
            if any(each.weight > 0 and each.health in healthy for each in state.addr.endpoints):
                return True
        return False


def names(found: Result) -> list[Path]:
    if found[0] == "leaf":
        return [found[1]]
    return [name for _, each in found[1] for name in names(each)] if found[0] == "union" else []


def with_rest(tree: NameTree[Path], rest: tuple[str, ...]) -> NameTree[Path]:
    match tree:
        case Leaf(path):
            return Leaf(Path((*path, *rest)))
        case Alt(trees):
            return Alt(tuple(with_rest(each, rest) for each in trees))
        case Union(branches):
            return Union(tuple(type(branch)(branch.weight, with_rest(branch.tree, rest)) for branch in branches))
    return tree
