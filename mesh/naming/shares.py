"""What share of a name's requests goes where, by the tree it is bound to."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar, assert_never

from mesh.naming.tree import Alt, BoundName, BoundTree, Empty, Fail, Leaf, Neg, Union

K = TypeVar("K")

_ALL = Fraction(1)


def shares_of(tree: BoundTree, name: Callable[[BoundName], K], nothing: K) -> dict[K, Fraction]:
    """Together 1. What has nothing behind it goes to `nothing`. Raises ValueError for a tree with alternatives."""
    match tree:
        case Leaf(value=bound):
            return {name(bound): _ALL}
        case Union(branches=branches):
            shared: dict[K, Fraction] = {}
            for branch, portion in zip(branches, _portions(tuple(each.weight for each in branches)), strict=True):
                for key, share in shares_of(branch.tree, name, nothing).items() if portion else ():
                    part = portion if share is _ALL else share * portion
                    shared[key] = shared[key] + part if key in shared else part
            return shared or {nothing: _ALL}
        case Empty() | Neg() | Fail():
            return {nothing: _ALL}
        case Alt():
            raise ValueError("a bound tree has no alternatives: bind chooses one")
        case _:
            assert_never(tree)


@lru_cache(maxsize=1024)
def _portions(weights: tuple[float, ...]) -> tuple[Fraction, ...]:
    # repr, because 0.1 is meant as a tenth and not as the nearest binary fraction.
    exact = [Fraction(repr(float(weight))) for weight in weights]
    total = sum(exact)
    return tuple(each / total if total else each for each in exact)
