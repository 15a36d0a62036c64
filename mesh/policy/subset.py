"""Which endpoints of a bound name a policy means."""

from __future__ import annotations

from collections.abc import Iterable

from discovery.address import Endpoint
from mesh.config.fields import Labels


def in_subset(endpoints: Iterable[Endpoint], subset: Labels) -> tuple[Endpoint, ...]:
    """Those whose metadata say all that `subset` says."""
    return tuple(each for each in endpoints if set(subset) <= set(each.metadata))
