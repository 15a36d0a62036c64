"""What a name is bound to, as it would be written in a table."""

from __future__ import annotations

from discovery.path import Path
from mesh.agent.names import Name
from mesh.naming.bind import Broken, Waiting
from mesh.naming.show import show_tree
from mesh.naming.tree import Alt, BoundTree, Leaf, NameTree, Union, Weighted


def shown(name: Name) -> str | None:
    """None: not known yet, or nothing."""
    tree = name.binding.tree if name.binding else None
    if tree is None or name.adopted or isinstance(tree, Waiting | Broken):
        return None
    return show_tree(_paths(tree))


def _paths(tree: BoundTree) -> NameTree[Path]:
    match tree:
        case Leaf(name):
            return Leaf(name.id.then(name.residual))
        case Union(branches):
            return Union(tuple(Weighted(branch.weight, _paths(branch.tree)) for branch in branches))
        case Alt(trees):
            return Alt(tuple(_paths(each) for each in trees))
        case _:
            return tree
