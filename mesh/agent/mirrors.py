"""Where copies of a name's requests go: each mirror is a path, bound by the table as a name is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from discovery.address import Protocol
from discovery.path import Path
from mesh.agent.overlap import Part, leaves
from mesh.agent.targets import Failover, Target, Targets
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME
from mesh.envoy.mirroring import Mirrors, Shares
from mesh.envoy.routes import cluster_shares
from mesh.naming.bind import Binding, Broken, Waiting
from mesh.naming.trace import Grade
from mesh.naming.tree import BoundTree
from mesh.policy.effective import Policies
from mesh.policy.settings import Settings


@dataclass(frozen=True, slots=True)
class Copy:
    """`percent`: of the name's requests."""

    path: Path
    binding: Binding
    percent: float

    @property
    def tree(self) -> BoundTree | None:
        """None: nothing is there that could get a copy, or it is not known yet."""
        tree = self.binding.tree
        if self.binding.grade not in (Grade.LIVE, Grade.LOST) or isinstance(tree, Waiting | Broken):
            return None
        return tree


def copies(settings: Settings, bind: Callable[[Path], Binding]) -> tuple[Copy, ...]:
    paths = ((each.path, each.percent) for each in settings.mirror)
    return tuple(Copy(path, bind(path), percent) for path, percent in paths if path is not None)


@dataclass(slots=True)
class Copied:
    """`needed`: the clusters that copies go to."""

    policies: Policies
    said: Callable[[Path], Protocol | None]
    needed: dict[str, Target | Failover] = field(default_factory=dict)

    def mirrors(self, of: Iterable[Copy], *, takes_grpc: bool) -> Mirrors:
        of = tuple(of)
        grpc = self._shares(of, Targets.grpc_cluster) if takes_grpc else ()
        return Mirrors(self._shares(of, Targets.cluster), grpc)

    def _shares(self, of: Iterable[Copy], name: Callable[[Targets, Path], str]) -> Shares:
        return tuple(share for copy in of for share in self._of_one(copy, name))

    def _of_one(self, copy: Copy, name: Callable[[Targets, Path], str]) -> Iterator[tuple[str, float]]:
        if copy.tree is None:
            return
        served = {id: Part(id) for id in leaves(copy.tree)}
        targets = Targets(served, {}, partial(self.policies.of_bound, copy.path), self.said, 0)
        for cluster, share in cluster_shares(copy.tree, partial(name, targets)).items():
            if cluster != EMPTY_CLUSTER_NAME:
                yield cluster, float(share) * copy.percent
        self.needed |= targets.needed
