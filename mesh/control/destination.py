"""Where a binding's requests go. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from discovery.address import Endpoint
from discovery.path import Path
from mesh.agent.failover import won
from mesh.agent.overlap import Endpoints, counted, endpoints_of, leaves, parts
from mesh.control.effect import Destination
from mesh.naming.bind import AskState, Binding, Broken, Waiting
from mesh.naming.explain import OUTCOMES
from mesh.naming.shares import shares_of
from mesh.naming.show import show_tree
from mesh.naming.trace import Grade
from mesh.naming.tree import BoundTree, Leaf

SERVED: Final = (Grade.LIVE, Grade.LOST)
_NONE: Final = Fraction(0)
_UNSERVED: Final[Mapping[Path | None, Fraction]] = {None: Fraction(1)}


class Way:
    """`served`: the shares of the requests by bound name, as Envoy is told; None: they are answered without one."""

    def __init__(self, binding: Binding, state: AskState) -> None:
        tree = binding.tree
        self.is_served = binding.grade in SERVED and not isinstance(tree, Waiting | Broken)
        self.served = _UNSERVED

        def known(id: Path) -> tuple[Endpoint, ...]:
            return endpoints_of(state(id))

        if self.is_served and not isinstance(tree, Waiting | Broken):
            serving = won(tree)
            if _share_instances(serving, known):
                serving = counted(serving, parts(serving, known), known)
            self.served = shares_of(serving, lambda bound: bound.id, None)
        endpoints = {each.key: each for id in self.served if id is not None for each in known(id)}
        self.destination = Destination(shown(binding), OUTCOMES[binding.grade], endpoints)

    def moved(self, other: Way) -> Fraction:
        """The share of the requests that goes elsewhere."""
        if other is self:
            return _NONE
        gone = (max(_NONE, share - other.served.get(to, _NONE)) for to, share in self.served.items())
        return sum(gone, _NONE)


def _share_instances(tree: BoundTree, known: Endpoints) -> bool:
    if isinstance(tree, Leaf):
        return False
    endpoints = [each.key for id in dict.fromkeys(leaves(tree)) for each in known(id)]
    return len(set(endpoints)) < len(endpoints)


def shown(binding: Binding) -> str:
    """The bound tree as it would be written; of what is not bound, why."""
    tree = binding.tree
    return tree.reason if isinstance(tree, Waiting | Broken) else show_tree(tree)
