"""Writing prefixes and trees so that they read the same again.

As Finagle prints: weights with two decimals, none when it is 1; a weight that needs more decimals keeps them.
"""

from __future__ import annotations

from decimal import Decimal

from discovery.path import Path, encode_label
from mesh.naming.prefix import Element, Prefix, Wildcard
from mesh.naming.tree import Alt, Empty, Fail, Leaf, NameTree, Neg, Union, Weighted


def show_prefix(prefix: Prefix) -> str:
    return "/" + "/".join(_element(element) for element in prefix)


def _element(element: Element) -> str:
    return element.value if isinstance(element, Wildcard) else encode_label(element)


def show_tree(tree: NameTree[Path]) -> str:
    match _bare(tree):
        case Alt(trees) if trees:
            return " | ".join(_branch(branch) for branch in trees)
        case bare:
            return _branch(bare)


def _branch(tree: NameTree[Path]) -> str:
    match _bare(tree):
        case Union(branches) if branches:
            return " & ".join(_weighted(branch) for branch in branches)
        case bare:
            return _simple(bare)


def _weighted(branch: Weighted[Path]) -> str:
    simple = _simple(_bare(branch.tree))
    return simple if branch.weight == 1.0 else f"{show_weight(branch.weight)}*{simple}"


def _simple(tree: NameTree[Path]) -> str:
    match tree:
        case Leaf(path):
            return path.show()
        case Neg() | Alt(()) | Union(()):
            return "~"
        case Empty():
            return "$"
        case Fail():
            return "!"
        case _:
            return f"({show_tree(tree)})"


def _bare(tree: NameTree[Path]) -> NameTree[Path]:
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
