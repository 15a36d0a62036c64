"""Names of one shape share their fate. Pure.

A segment that stands nowhere in a table is to it like any other such: no literal matches it, every wildcard does. And
where each name has a dentry of its own, the tables may say the same of each: then these words are alike, too (see
mesh.control.roles). Two names that differ in such segments alone take the same way, if what is known of the names on
that way is alike: it exists, it has endpoints, it is lost. Then what was found for the one holds for the other, with
its own segments in it.

Not so where text is looked at: under /$/. And not said of what has no answer yet, or never had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from discovery.address import Bound, Known, State
from discovery.path import Path, encode_label
from mesh.control.roles import Roles
from mesh.naming.bind import AskState, Binding, Namer, has_endpoint
from mesh.naming.difference import Merged
from mesh.naming.namers import LongestNamer, SourceNamer
from mesh.naming.show import show_tree
from mesh.naming.tree import Alt, BoundName, BoundTree, Leaf, Union, Weighted

Template = tuple[str | int, ...]
"""A path in which the shared segments are numbers."""
Gist = tuple[bool, bool, bool] | None
_MARK: Final = "%%"


@dataclass(frozen=True, slots=True)
class Shape:
    """`role`: of those of the words that tables speak of; 0 without any."""

    template: Template
    words: tuple[str, ...]
    role: int = 0

    def of(self, path: Path) -> Template:
        return tuple(self.words.index(segment) if segment in self.words else segment for segment in path)

    def filled(self, template: Template) -> Path:
        words = self.words
        return Path([each if isinstance(each, str) else words[each] for each in template])

    def written(self, text: str) -> str:
        """A text of `shown` with this name's words."""
        for number, word in enumerate(self.words):
            text = text.replace(_mark(number), encode_label(word))
        return text

    def shown(self, tree: BoundTree) -> str:
        """The tree as text, with marks where this name's words are."""
        marks = {word: _mark(number) for number, word in enumerate(self.words)}
        return show_tree(_renamed(tree, marks))


def _mark(number: int) -> str:
    return f"{_MARK}{number}{_MARK}"


class Shapes:
    """Of names under these tables, with these namers."""

    def __init__(self, merged: Sequence[Merged], namers: Sequence[Namer]) -> None:
        common = {"#", "$", *(segment for namer in namers for segment in namer.prefix)}
        self._roles = Roles(merged, common)
        self._known = common | self._roles.words
        plain = all(isinstance(namer, SourceNamer | LongestNamer) for namer in namers)
        self._is_safe = plain and not any(_MARK in segment for segment in self._known)

    def of(self, path: Path) -> Shape | None:
        """None: nothing can be said by shape."""
        if not self._is_safe:
            return None
        others = dict.fromkeys(segment for segment in path if segment not in self._known)
        if any(_MARK in word for word in others):
            return None
        groups = self._roles.groups(path)
        if len(groups) > 1 or not (others or any(not group.is_alone for group in groups)):
            return None
        group = next(iter(groups), None)
        words = (*(group.words if group else ()), *others)
        template = tuple(words.index(segment) if segment in words else segment for segment in path)
        return Shape(template, words, group.role if group else 0)


def asked(shape: Shape, bindings: Sequence[Binding], state: AskState) -> tuple[tuple[Template, Gist], ...] | None:
    """What they rest on. None: something of it is not alike for all names."""
    if any(step.path[:1] == ("$",) for binding in bindings for step in binding.trace.all()):
        return None
    found: dict[Template, Gist] = {}
    for path in frozenset[Path]().union(*(binding.wanted for binding in bindings)):
        known = state(path)
        if not isinstance(known, Known):
            return None
        found[shape.of(path)] = gist(known)
    return tuple(found.items())


def gist(state: State) -> Gist:
    """As much as binding depends on."""
    match state:
        case Known(Bound() as addr, lost=lost):
            return True, has_endpoint(addr), lost is not None
        case Known():
            return False, False, False
        case _:
            return None


def _renamed(tree: BoundTree, marks: dict[str, str]) -> BoundTree:
    match tree:
        case Leaf(name):
            return Leaf(BoundName(_marked(name.id, marks), _marked(name.residual, marks)))
        case Alt(trees):
            return Alt(tuple(_renamed(each, marks) for each in trees))
        case Union(branches):
            return Union(tuple(Weighted(each.weight, _renamed(each.tree, marks)) for each in branches))
        case _:
            return tree


def _marked(path: Path, marks: dict[str, str]) -> Path:
    return Path(marks.get(segment, segment) for segment in path)
