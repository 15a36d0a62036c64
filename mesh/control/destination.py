"""Where a binding's requests go. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from discovery.address import Endpoint
from discovery.path import Path
from mesh.agent.failover import won
from mesh.agent.overlap import counted, endpoints_of, leaves, parts
from mesh.control.effect import Destination
from mesh.naming.bind import AskState, Binding, Broken, Waiting
from mesh.naming.explain import OUTCOMES
from mesh.naming.shares import shares_of
from mesh.naming.show import show_tree
from mesh.naming.trace import Grade
from mesh.naming.tree import BoundName

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

        found: tuple[Endpoint, ...] = ()
        if self.is_served and not isinstance(tree, Waiting | Broken):
            serving = won(tree)
            endpoints = {id: known(id) for id in leaves(serving)}
            found = together(endpoints.values())
            if len(found) < sum(map(len, endpoints.values())):
                serving = counted(serving, parts(serving, known), known)
            self.served = shares_of(serving, _id, None)
            if not endpoints.keys() <= self.served.keys():
                found = together(endpoints[id] for id in self.served if id is not None)
        self.destination = Destination(shown(binding), OUTCOMES[binding.grade], found)

    def moved(self, other: Way) -> Fraction:
        """The share of the requests that goes elsewhere."""
        if other is self:
            return _NONE
        # Nothing is taken from whole shares: of most names all goes, or nothing.
        stays = other.served
        gone = [
            share - stays[to] if to in stays else share
            for to, share in self.served.items()
            if to not in stays or stays[to] < share
        ]
        return gone[0] if len(gone) == 1 else sum(gone, _NONE)


def together(endpoints: Iterable[tuple[Endpoint, ...]]) -> tuple[Endpoint, ...]:
    """Each address and port once."""
    first, *others = *endpoints, ()
    if not any(others):
        return first
    return tuple({(each.address, each.port): each for some in (first, *others) for each in some}.values())


def _id(bound: BoundName) -> Path:
    return bound.id


def shown(binding: Binding) -> str:
    """The bound tree as it would be written; of what is not bound, why."""
    tree = binding.tree
    return tree.reason if isinstance(tree, Waiting | Broken) else show_tree(tree)
