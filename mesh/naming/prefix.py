"""Dentry prefixes, and the index that finds the dentries whose prefix matches a path without trying each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Wildcard(Enum):
    """Distinct from the literal segment '*', which is written `\\x2a`."""

    ONE = "*"


WILDCARD: Final = Wildcard.ONE
Element = str | Wildcard
Prefix = tuple[Element, ...]


class _Node(Generic[T]):
    """One segment of all prefixes. `ends`: what ends here, with its place in the table."""

    __slots__ = ("children", "ends", "wild")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.wild: _Node[T] | None = None
        self.ends: list[tuple[int, T]] = []

    def child(self, element: Element) -> _Node[T]:
        if not isinstance(element, Wildcard):
            return self.children.setdefault(element, _Node())
        if self.wild is None:
            self.wild = _Node()
        return self.wild


class Index(Generic[T]):
    """A tree of segments. What is found depends on the order of the entries alone, as if each had been tried."""

    __slots__ = ("_root",)

    def __init__(self, entries: Iterable[tuple[Prefix, T]]) -> None:
        self._root: _Node[T] = _Node()
        for place, (prefix, entry) in enumerate(entries):
            node = self._root
            for element in prefix:
                node = node.child(element)
            node.ends.append((place, entry))

    def scan(self, path: tuple[str, ...]) -> tuple[list[T], int]:
        """What matches, the latest first, and how many nodes and matches that took."""
        nodes, found, visited = [self._root], list(self._root.ends), 1
        for segment in path:
            following = []
            for node in nodes:
                literal = node.children.get(segment)
                if literal is not None:
                    following.append(literal)
                    found += literal.ends
                if node.wild is not None:
                    following.append(node.wild)
                    found += node.wild.ends
            if not following:
                break
            visited += len(following)
            nodes = following
        if len(found) > 1:
            found.sort(key=_place, reverse=True)
        return [entry for _, entry in found], visited + len(found)


def _place(found: tuple[int, T]) -> int:
    return found[0]
