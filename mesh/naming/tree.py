"""Name trees: what a name may become, before and after binding. Frozen values.

    tree := Leaf | Alt | Union | Neg | Empty | Fail

Before binding a leaf holds a `Path`, after binding a `BoundName`. A bound tree has an `Alt` only for failover: its
first tree is the one that won, the others may serve while that can't.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from discovery.path import Path

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class BoundName:
    """A name that something answers for: `id` is observed (`/#/consul/dc1/users`), `residual` is left over."""

    id: Path
    residual: Path = Path()

    def show(self) -> str:
        return f"{self.id.show()} (residual {self.residual.show()})" if self.residual else self.id.show()


@dataclass(frozen=True, slots=True)
class Leaf(Generic[T_co]):
    value: T_co


@dataclass(frozen=True, slots=True)
class Alt(Generic[T_co]):
    """The first that is not `Neg`."""

    trees: tuple[NameTree[T_co], ...]


@dataclass(frozen=True, slots=True)
class Weighted(Generic[T_co]):
    weight: float
    tree: NameTree[T_co]


@dataclass(frozen=True, slots=True)
class Union(Generic[T_co]):
    """Each of these, in proportion to the weights."""

    branches: tuple[Weighted[T_co], ...]


@dataclass(frozen=True, slots=True)
class Neg:
    """`~`: no such name; an alternative may serve."""


@dataclass(frozen=True, slots=True)
class Empty:
    """`$`: a name with nothing behind it."""


@dataclass(frozen=True, slots=True)
class Fail:
    """`!`: refused; no alternative is tried."""


NameTree = Leaf[T_co] | Alt[T_co] | Union[T_co] | Neg | Empty | Fail
BoundTree = NameTree[BoundName]
