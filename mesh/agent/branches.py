"""What a name is split over, and what stands by, as parts of its one cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from discovery.path import Path
from mesh.agent.failover import standing_by, won
from mesh.agent.overlap import Endpoints, Key
from mesh.envoy.routes import cluster_shares, integer_shares
from mesh.envoy.streams import Branch
from mesh.naming.tree import BoundTree


def branches(tree: BoundTree, known: Endpoints) -> Iterator[Branch]:
    """An instance that several bound names know is in the first of them. What stands by for several, for the first."""
    weights = integer_shares(cluster_shares(won(tree), Path.show))
    behind = standing_by(tree)
    found = {id: (0, weights[id.show()]) for id in behind if id.show() in weights}
    for id, others in behind.items():
        for level, each in enumerate(others, start=1):
            found.setdefault(each, (level, weights.get(id.show(), 1)))
    seen: set[Key] = set()
    for id, (priority, weight) in sorted(found.items(), key=lambda item: item[1][0]):
        own = tuple(endpoint for endpoint in known(id) if endpoint.key not in seen)
        seen.update(endpoint.key for endpoint in own)
        yield Branch(id, weight, own, priority)
