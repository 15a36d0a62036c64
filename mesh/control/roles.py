"""Words that play the same part in tables. Pure.

The words that stand together in dentries are a group; words that stand in many dentries, and those of namers, belong to
none. What tables say of a group, with numbers in the place of its words, is its role: where each dentry stands among
those that speak of no group, its prefix and its tree. Of two groups with one role the tables say the same.

A name with words of one group alone leads to no other group's: a dentry that writes a group's word has one of them in
its prefix, or it is no group. So to such a name the tables are as they are to one with the other group's words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from discovery.path import Path
from mesh.config.table import leaves
from mesh.naming.difference import Merged
from mesh.naming.dtab import Dentry
from mesh.naming.prefix import Wildcard
from mesh.naming.tree import Alt, Leaf, NameTree, Union

FEW: Final = 16
"""Dentries, of all tables together: a word of more than these belongs to no group."""
MOST_WORDS: Final = 8
"""Of a group."""


@dataclass(frozen=True, slots=True)
class Group:
    """`words` by their numbers. `role`: groups with the same one are alike; `is_alone`: there is no other."""

    words: tuple[str, ...]
    role: int
    is_alone: bool


class _Gathering:
    """A group that is being found. `said`: what tables say of it, its words as numbers."""

    __slots__ = ("is_group", "numbers", "said", "words")

    def __init__(self, word: str) -> None:
        self.words = [word]
        self.is_group = True
        self.numbers: dict[str, int] = {}
        self.said: list[object] = []

    def number(self, word: str) -> str | int:
        if word not in self.words:
            return word
        return self.numbers.setdefault(word, len(self.numbers))


class Roles:
    """`words`: all that the tables speak of."""

    def __init__(self, merged: Sequence[Merged], common: Iterable[str]) -> None:
        """`common`: words that are of no group."""
        spoken = [_spoken(each.dentry) for each in merged]
        counts = Counter(word for words in spoken for word in {*words})
        self.words: Set[str] = counts.keys()
        few = {word for word, count in counts.items() if count <= FEW}.difference(common)
        gathered: dict[str, _Gathering] = {}
        of = [_gather(gathered, each.dentry, words, few) for each, words in zip(merged, spoken, strict=True)]
        _listen(merged, of, gathered)
        self._groups = _named({word: each for word, each in gathered.items() if each.is_group})

    def groups(self, path: Path) -> Set[Group]:
        """Those that its words are of."""
        return {self._groups[word] for word in path if word in self._groups}


def _spoken(dentry: Dentry) -> list[str]:
    words = [each for each in dentry.prefix if not isinstance(each, Wildcard)]
    tree = dentry.tree
    for path in (tree.value,) if isinstance(tree, Leaf) else leaves(tree):
        words += path
    return words


def _gather(gathered: dict[str, _Gathering], dentry: Dentry, spoken: Sequence[str], few: Set[str]) -> str | None:
    """A word of the dentry's group; None: it has none."""
    words = [word for word in spoken if word in few]
    if not words:
        return None
    first = words[0]
    for word in words:
        if word not in gathered:
            gathered[word] = _Gathering(word)
        if word != first:
            _join(gathered, gathered[first], gathered[word])
    if first not in dentry.prefix:
        gathered[first].is_group = False
    return first


def _join(gathered: dict[str, _Gathering], one: _Gathering, other: _Gathering) -> None:
    """What has grown too large takes in no more words: all that stand with it are of no group."""
    if one is other:
        return
    if not (one.is_group and other.is_group) or len(one.words) + len(other.words) > MOST_WORDS:
        one.is_group = other.is_group = False
        return
    one.words += other.words
    gathered.update(dict.fromkeys(other.words, one))


def _listen(merged: Iterable[Merged], of: Iterable[str | None], gathered: Mapping[str, _Gathering]) -> None:
    """A group's dentries in order, each with its place among those that are of no group."""
    place = 0
    for each, word in zip(merged, of, strict=True):
        group = None if word is None else gathered[word]
        if group is None or not group.is_group:
            place += 1
            continue
        prefix = tuple(part if isinstance(part, Wildcard) else group.number(part) for part in each.dentry.prefix)
        tree = _numbered(each.dentry.tree, group.number)
        group.said.append((place, each.is_before, each.is_after, prefix, tree))


def _named(gathered: Mapping[str, _Gathering]) -> Mapping[str, Group]:
    """By word."""
    roles = {id(each): tuple(each.said) for each in gathered.values()}
    counts = Counter(roles.values())
    numbers = {role: number for number, role in enumerate(counts, 1)}
    found = {
        id(each): Group(tuple(each.numbers), numbers[role], counts[role] == 1)
        for each in gathered.values()
        for role in [roles[id(each)]]
    }
    return {word: found[id(each)] for word, each in gathered.items()}


def _numbered(tree: NameTree[Path], number: Callable[[str], str | int]) -> object:
    match tree:
        case Leaf(path):
            return tuple(map(number, path))
        case Alt(trees):
            return (Alt, *(_numbered(each, number) for each in trees))
        case Union(branches):
            return (Union, *((each.weight, _numbered(each.tree, number)) for each in branches))
        case _:
            return type(tree)
