"""The clusters that a name needs: one for each bound name, another where gRPC is spoken apart, and one that leads to
several of them where others stand by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from discovery.address import Protocol
from discovery.path import Path
from mesh.agent.overlap import Part
from mesh.envoy import names
from mesh.envoy.composite import composite_name
from mesh.policy.effective import OfBoundName, with_others_behind


@dataclass(frozen=True, slots=True)
class Target:
    """What a cluster is made of."""

    part: Part
    policy: OfBoundName

    @property
    def ids(self) -> tuple[Path, ...]:
        return self.part.ids

    @property
    def cluster(self) -> str:
        return names.cluster_name(self.part.id, self.part.without, self.policy.suffix)

    @property
    def grpc_cluster(self) -> str:
        return names.grpc_cluster_name(self.part.id, self.part.without, self.policy.suffix)


@dataclass(frozen=True, slots=True)
class Failover:
    """A cluster that leads to others, the nearest first. `policy`: of the first."""

    members: tuple[str, ...]
    policy: OfBoundName
    ids: tuple[Path, ...] = ()

    @property
    def cluster(self) -> str:
        return composite_name(self.members)


@dataclass(slots=True)
class Targets:
    """`served`: what the name leads to; `behind`: what stands by for each. `said`: what the endpoints say they speak.

    `needed`: every cluster that was asked for; those that others lead to come before these.
    """

    served: Mapping[Path, Part]
    behind: Mapping[Path, tuple[Path, ...]]
    policy: Callable[[Path], OfBoundName]
    said: Callable[[Path], Protocol | None]
    retries: int
    needed: dict[str, Target | Failover] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[Path, ...]:
        spare = (id for ids in self.behind.values() for id in ids)
        return tuple(dict.fromkeys((*self.served, *spare)))

    def cluster(self, id: Path) -> str:
        return self._led({target.cluster: target for target in self._chain(id)})

    def grpc_cluster(self, id: Path) -> str:
        """gRPC needs HTTP/2, and has a cluster of its own where endpoints don't say what they speak."""
        chain = self._chain(id)
        return self._led({each.cluster if self.said(each.part.id) else each.grpc_cluster: each for each in chain})

    def _chain(self, id: Path) -> list[Target]:
        *others, last = id, *self.behind.get(id, ())
        targets = [Target(self._part(each), with_others_behind(self.policy(each))) for each in others]
        return [*targets, Target(self._part(last), self.policy(last))]

    def _part(self, id: Path) -> Part:
        return self.served.get(id) or Part(id)

    def _led(self, members: dict[str, Target]) -> str:
        self.needed.update(members)
        first, *others = members
        if not others:
            return first
        # Retries stay with the first until the last one.
        failover = Failover((*[first] * max(1, self.retries), *others), members[first].policy)
        self.needed[failover.cluster] = failover
        return failover.cluster
