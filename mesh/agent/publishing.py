"""How names are published: as requests are routed, or as connections are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from discovery.address import State
from discovery.path import Path
from mesh.agent.names import Name
from mesh.agent.refusal import Refusal
from mesh.naming.tree import BoundTree


class Publishing(Protocol):
    def publish(self, name: Name, tree: BoundTree) -> None:
        """It leads there."""

    def refuse(self, name: Name, refusal: Refusal) -> None:
        """It exists and has nothing to offer."""

    def withdraw(self, name: Name) -> None:
        """It leads nowhere, or is used no more."""

    def changed(self, id: Path, state: State) -> None:
        """An observation changed."""

    def clusters(self) -> Iterator[tuple[str, str]]:
        """Each cluster that Envoy has, and what is behind it."""
        ...

    def sweep(self) -> object:
        """Called now and then: lets go of what has been unused for a while."""


@dataclass(frozen=True, slots=True)
class Both:
    """`streamed`: the routers of connections."""

    requests: Publishing
    streams: Publishing
    streamed: frozenset[str]

    def publish(self, name: Name, tree: BoundTree) -> None:
        self._of(name).publish(name, tree)

    def refuse(self, name: Name, refusal: Refusal) -> None:
        self._of(name).refuse(name, refusal)

    def withdraw(self, name: Name) -> None:
        self._of(name).withdraw(name)

    def changed(self, id: Path, state: State) -> None:
        self.requests.changed(id, state)
        self.streams.changed(id, state)

    def clusters(self) -> Iterator[tuple[str, str]]:
        yield from self.requests.clusters()
        yield from self.streams.clusters()

    def sweep(self) -> None:
        self.requests.sweep()
        self.streams.sweep()

    def _of(self, name: Name) -> Publishing:
        return self.streams if name.router in self.streamed else self.requests
