"""Which names a change of the table can't touch. Pure.

Both tables have some dentries in the same order; the others, of either, are the changed ones. A path that no changed
dentry's prefix matches finds the same dentries in the same order in both. Binding is a function of what is found for
the paths it looks up: if no changed dentry matches any of them, it takes the same way in both tables. But for one
thing: a walk may take so many steps, and finding is counted. What is found costs at most what it did plus what the
changed dentries alone cost; so a walk that had that much left ends in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from mesh.naming.bind import STEPS, Binding
from mesh.naming.dtab import Dentry, Dtab
from mesh.naming.prefix import Index
from mesh.naming.trace import Kind

MOST_COMPARED: Final = 1_000_000
"""Pairs of dentries. What is left of larger tables, when their common beginning and end are gone, counts as changed."""


class Merged(NamedTuple):
    """A dentry of two tables, which are both in this one's order. In one of them alone it is a changed one."""

    dentry: Dentry
    is_before: bool
    is_after: bool


class Difference:
    """`merged`: the dentries of both tables."""

    def __init__(self, before: Dtab, after: Dtab) -> None:
        self.merged = merged(before.dentries, after.dentries)
        changed = [each.dentry.prefix for each in self.merged if not (each.is_before and each.is_after)]
        self._changed: Index[None] = Index((prefix, None) for prefix in changed)
        self.is_empty = not changed

    def touches(self, binding: Binding) -> bool:
        """Whether `binding`, made with one of the tables, might be another with the other."""
        return self.spent(binding) is None

    def spent(self, binding: Binding) -> int | None:
        """What the walk of `binding`, made with one of the tables, takes of its STEPS at most with the other; None: it
        might be another."""
        spent = binding.spent
        if self.is_empty:
            return spent
        for step in binding.trace.all():
            if step.kind is not Kind.LOOKUP:
                continue
            found, cost = self._changed.scan(step.path)
            spent += cost // 4 + 1
            if found or spent > STEPS:
                return None
        return spent


def merged(before: Sequence[Dentry], after: Sequence[Dentry]) -> list[Merged]:
    """Both in one order, what they have in common once."""
    shorter = min(len(before), len(after))
    start = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    most = shorter - start
    end = next((at for at in range(most) if before[-1 - at] != after[-1 - at]), most)
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    both = [Merged(dentry, is_before=True, is_after=True) for dentry in (*before[:start], *before[len(before) - end :])]
    return [*both[:start], *_compared(old, new), *both[start:]]


def _compared(old: Sequence[Dentry], new: Sequence[Dentry]) -> Iterator[Merged]:
    whole = [("replace", 0, len(old), 0, len(new))]
    is_small = len(old) * len(new) <= MOST_COMPARED
    found = SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if is_small else whole
    for tag, a, b, c, d in found:
        if tag == "equal":
            yield from (Merged(dentry, is_before=True, is_after=True) for dentry in old[a:b])
        else:
            yield from (Merged(dentry, is_before=True, is_after=False) for dentry in old[a:b])
            yield from (Merged(dentry, is_before=False, is_after=True) for dentry in new[c:d])
