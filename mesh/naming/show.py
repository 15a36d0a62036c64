"""Writing prefixes and trees so that they read the same again.

As Finagle prints: weights with two decimals, none when it is 1; a weight that needs more decimals keeps them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Protocol

from discovery.path import encode_label
from mesh.naming.prefix import Element, Prefix, Wildcard
from mesh.naming.tree import Alt, Empty, Fail, Leaf, NameTree, Neg, Union, Weighted

DEEPEST: Final = 100
"""A bound tree may have more alternatives in each other than Python has frames for."""


class Shown(Protocol):
    """A path, or a bound name: that is shown with its residual, which does not read again."""

    def show(self) -> str: ...


def show_prefix(prefix: Prefix) -> str:
    return "/" + "/".join(_element(element) for element in prefix)


def _element(element: Element) -> str:
    return element.value if isinstance(element, Wildcard) else encode_label(element)


def show_tree(tree: NameTree[Shown], nesting: int = 0) -> str:
    """What nests more than DEEPEST deep, which no written tree does, is not shown."""
    match _bare(tree):
        case Alt(trees) if trees:
            return " | ".join(_branch(branch, nesting) for branch in trees)
        case bare:
            return _branch(bare, nesting)


def _branch(tree: NameTree[Shown], nesting: int) -> str:
    match _bare(tree):
        case Union(branches) if branches:
            return " & ".join(_weighted(branch, nesting) for branch in branches)
        case bare:
            return _simple(bare, nesting)


def _weighted(branch: Weighted[Shown], nesting: int) -> str:
    simple = _simple(_bare(branch.tree), nesting)
    return simple if branch.weight == 1.0 else f"{show_weight(branch.weight)}*{simple}"


def _simple(tree: NameTree[Shown], nesting: int) -> str:
    match tree:
        case Leaf(value):
            return value.show()
        case Neg() | Alt(()) | Union(()):
            return "~"
        case Empty():
            return "$"
        case Fail():
            return "!"
        case _:
            return f"({show_tree(tree, nesting + 1)})" if nesting < DEEPEST else "(…)"


def _bare(tree: NameTree[Shown]) -> NameTree[Shown]:
    """A single alternative or a single branch is written as itself."""
    while True:
        match tree:
            case Alt((only,)) | Union((Weighted(_, only),)):
                tree = only
            case _:
                return tree


def show_weight(weight: float) -> str:
    short = f"{weight:.2f}"
    return short if float(short) == weight else format(Decimal(repr(weight)), "f")
