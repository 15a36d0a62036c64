"""An instance that two branches of one union know is counted once: in the first branch that has it.

A container is registered in Consul by its own start script and is seen by Docker, too. In `consul & docker` it would
get a share in each branch. So each later branch leaves out what an earlier one has; a branch of which nothing remains
gives its share to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from discovery.address import Bound, Endpoint, Known, State
from discovery.path import Path
from mesh.naming.tree import Alt, BoundTree, Leaf, Union, Weighted

Endpoints = Callable[[Path], tuple[Endpoint, ...]]
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Part:
    """The endpoints of `id` that none of `without` has."""

    id: Path
    without: tuple[Path, ...] = ()

    @property
    def ids(self) -> tuple[Path, ...]:
        return self.id, *self.without

    def endpoints(self, known: Endpoints) -> tuple[Endpoint, ...]:
        if not self.without:
            return known(self.id)
        elsewhere = {endpoint.key for id in self.without for endpoint in known(id)}
        return tuple(endpoint for endpoint in known(self.id) if endpoint.key not in elsewhere)


def endpoints_of(state: State) -> tuple[Endpoint, ...]:
    """Those that are known; of what is missing or not known, none."""
    return state.addr.endpoints if isinstance(state, Known) and isinstance(state.addr, Bound) else ()


def owners(ids: Iterable[Path], known: Endpoints) -> dict[Key, Path]:
    """Each instance, by the first bound name that has it."""
    found: dict[Key, Path] = {}
    for id in ids:
        for endpoint in known(id):
            found.setdefault(endpoint.key, id)
    return found


def parts(tree: BoundTree, known: Endpoints) -> dict[Path, Part]:
    """What is left of each bound name of the tree, in the tree's order.

    A branch of weight 0 takes no instance from one that gets requests.
    """
    ids = list(dict.fromkeys(leaves(tree)))
    if len(ids) < 2:
        return {id: Part(id) for id in ids}
    owner = owners((*leaves(_weighted(tree)), *ids), known)
    return {id: Part(id, tuple(sorted({owner[each.key] for each in known(id)} - {id}))) for id in ids}


def counted(tree: BoundTree, found: Mapping[Path, Part], known: Endpoints) -> BoundTree:
    """The tree without the branches of which other branches have everything."""
    gone = {id for id, part in found.items() if part.without and not part.endpoints(known)}
    return _pruned(tree, gone) if gone else tree


def every_leaf(tree: object) -> Iterator[Path]:
    """As `leaves`, and those that stand by."""
    if isinstance(tree, Alt):
        for each in tree.trees:
            yield from every_leaf(each)
    elif isinstance(tree, Union):
        for branch in tree.branches:
            yield from every_leaf(branch.tree)
    else:
        yield from leaves(tree)


def leaves(tree: object) -> Iterator[Path]:
    """The ids a bound tree leads to, from left to right."""
    match tree:
        case Alt(trees):
            yield from leaves(trees[0])
        case Leaf(value):
            yield value.id
        case Union(branches):
            for branch in branches:
                yield from leaves(branch.tree)


def _weighted(tree: BoundTree) -> BoundTree:
    """Without the branches of weight 0; where all have that, as it is."""
    if not isinstance(tree, Union):
        return tree
    kept = tuple(Weighted(each.weight, _weighted(each.tree)) for each in tree.branches if each.weight)
    return Union(kept) if kept else tree


def _pruned(tree: BoundTree, gone: set[Path]) -> BoundTree:
    """The first branch is never gone, so something remains of every tree; of an inner union perhaps nothing."""
    if not isinstance(tree, Union):
        return tree
    kept = tuple(
        branch
        for branch in tree.branches
        if any(id not in gone for id in leaves(branch.tree)) or _is_written(branch.tree)
    )
    return Union(tuple(type(branch)(branch.weight, _pruned(branch.tree, gone)) for branch in kept))


def _is_written(tree: BoundTree) -> bool:
    """`$` and its like are a share of their own."""
    return not any(True for _ in leaves(tree))
