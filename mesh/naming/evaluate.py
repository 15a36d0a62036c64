"""A tree as the set of its values, Finagle's `eval`: what a resolver would ask for all at once."""

from __future__ import annotations

from typing import TypeVar

from mesh.naming.tree import Alt, Empty, Fail, Leaf, NameTree, Neg, Union

T = TypeVar("T")


def evaluate(tree: NameTree[T]) -> frozenset[T] | None:
    """None: there is no such name, or it is refused. The empty set: there is, with nothing behind it."""
    values = _evaluate(tree)
    return values if isinstance(values, frozenset) else None


def _evaluate(tree: NameTree[T]) -> frozenset[T] | Neg | Fail:
    match tree:
        case Leaf(value):
            return frozenset((value,))
        case Empty():
            return frozenset()
        case Neg() | Fail():
            return tree
        case Alt(trees):
            return _first(trees)
        case Union(branches):
            return _all(tuple(branch.tree for branch in branches))


def _first(trees: tuple[NameTree[T], ...]) -> frozenset[T] | Neg | Fail:
    for tree in trees:
        values = _evaluate(tree)
        if not isinstance(values, Neg):
            return values
    return Neg()


def _all(trees: tuple[NameTree[T], ...]) -> frozenset[T] | Neg | Fail:
    if len(trees) == 1:
        return _evaluate(trees[0])
    found = [values for values in map(_evaluate, trees) if isinstance(values, frozenset)]
    return frozenset[T]().union(*found) if found else Neg()
