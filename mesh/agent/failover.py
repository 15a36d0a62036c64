"""Which clusters stand by for a bound name, in order, from the alternatives that binding kept."""

from __future__ import annotations

from collections.abc import Mapping

from discovery.path import Path
from mesh.agent.overlap import leaves
from mesh.naming.tree import Alt, BoundTree, Union, Weighted


def won(tree: BoundTree) -> BoundTree:
    """The tree without what stands by."""
    match tree:
        case Alt(trees):
            return won(trees[0])
        case Union(branches):
            return Union(tuple(Weighted(branch.weight, won(branch.tree)) for branch in branches))
        case _:
            return tree


def standing_by(tree: BoundTree, behind: tuple[Path, ...] = ()) -> Mapping[Path, tuple[Path, ...]]:
    """For each bound name of `won(tree)` those that serve while it can't, the nearest first.

    Of a union that stands by, the heaviest branch comes first: Envoy fails over from one cluster to one other.
    """
    match tree:
        case Alt(trees):
            after = [id for each in trees[1:] for id in _by_weight(each)]
            return standing_by(trees[0], tuple(dict.fromkeys((*after, *behind))))
        case Union(branches):
            found: dict[Path, tuple[Path, ...]] = {}
            for branch in branches:
                for id, others in standing_by(branch.tree, behind).items():
                    found.setdefault(id, others)
            return found
        case _:
            return {id: tuple(each for each in behind if each != id) for id in leaves(tree)}


def _by_weight(tree: BoundTree) -> list[Path]:
    match tree:
        case Alt(trees):
            return [id for each in trees for id in _by_weight(each)]
        case Union(branches):
            ordered = sorted(branches, key=lambda branch: -branch.weight)
            return [id for branch in ordered for id in _by_weight(branch.tree)]
        case _:
            return list(leaves(tree))
