"""How a table reads when a part of a name's requests goes to another place. Pure.

A dentry for exactly that name is a union of what the name leads to without it and of the target:

    /svc/users => 70 * (/#/consul/dc1/users | /#/files/users) & 30 * /#/ecs/prod/users

At 100 % it leads to the target alone. All else in the text stays as it is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from discovery.path import Path
from mesh.naming.dtab import Dentry, layout, parse_dtab
from mesh.naming.show import show_prefix, show_tree
from mesh.naming.tree import Alt, Leaf, NameTree, Neg, Union, Weighted

WHOLE = 100.0


class NotShiftable(Exception):
    """The text says why."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the shift is in this text. `percent`: of the requests, goes to the target. `stays`: where the others
    lead. `span`: of the dentry that says so; None: there is none yet."""

    text: str
    name: Path
    target: Path
    percent: float
    stays: NameTree[Path]
    span: tuple[int, int] | None

    def at(self, percent: float) -> str:
        """The table with so much at the target."""
        dentry = f"{show_prefix(tuple(self.name))} => {self._tree(percent)}"
        if self.span is not None:
            return f"{self.text[: self.span[0]]}{dentry}{self.text[self.span[1] :]}"
        return f"{_closed(self.text)}{dentry} ;\n"

    def _tree(self, percent: float) -> str:
        target = show_tree(Leaf(self.target))
        if percent >= WHOLE:
            return target
        stays = show_tree(self.stays)
        stays = stays if isinstance(self.stays, Leaf) else f"({stays})"
        return f"{_weight(WHOLE - percent)} * {stays} & {_weight(percent)} * {target}"


def standing(text: str, name: Path, target: Path) -> Standing:
    """Raises NotShiftable, DtabSyntaxError."""
    dtab = parse_dtab(text)
    found, _ = dtab.scan(name)
    if not found:
        raise NotShiftable(f"no entry of the table is for {name.show()}. Write one: {name.show()} => {target.show()}")
    first = found[0]
    own = first if first.prefix == tuple(name) else None
    place = next((at for at, each in enumerate(dtab.dentries) if each is own), None)
    span = None if place is None else layout(text).spans[place]
    percent, stays = _under_way(own, target) or (0.0, _flat(dtab.lookup(name)))
    if Leaf(target) in (stays, own and own.tree):
        percent, stays = WHOLE, Neg()
    return Standing(text, name, target, percent, stays, span)


def steps(start: float, step: float) -> Iterator[float]:
    """The shares to come, in percent; the last is all."""
    percent = start
    while percent < WHOLE:
        percent = min(WHOLE, round(percent + step, 6))
        yield percent


def _under_way(own: Dentry | None, target: Path) -> tuple[float, NameTree[Path]] | None:
    """The target's share, and the union without it. None: the target has no part in it yet."""
    if own is None or not isinstance(own.tree, Union):
        return None
    branches = own.tree.branches
    there = sum(branch.weight for branch in branches if branch.tree == Leaf(target))
    rest = tuple(branch for branch in branches if branch.tree != Leaf(target))
    every = sum(branch.weight for branch in branches)
    if not rest or not there or not every:
        return None
    stays = rest[0].tree if len(rest) == 1 else Union(tuple(Weighted(each.weight, each.tree) for each in rest))
    return round(WHOLE * there / every, 6), stays


def _flat(tree: NameTree[Path]) -> NameTree[Path]:
    """Alternatives of alternatives are alternatives."""
    if not isinstance(tree, Alt):
        return tree
    trees: list[NameTree[Path]] = []
    for each in map(_flat, tree.trees):
        trees += each.trees if isinstance(each, Alt) else [each]
    return Alt(tuple(trees))


def _closed(text: str) -> str:
    """So that another dentry can follow."""
    written = layout(text)
    if written.spans and not written.is_closed:
        end = written.spans[-1][1]
        text = f"{text[:end]} ;{text[end:]}"
    return text if not text or text.endswith("\n") else f"{text}\n"


def _weight(percent: float) -> str:
    return f"{percent:.6f}".rstrip("0").rstrip(".")
