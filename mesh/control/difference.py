"""Which names a change of the table can't touch. Pure.

Both tables have some dentries in the same order; the others, of either, are the changed ones. A path that no changed
dentry's prefix matches finds the same dentries in the same order in both. Binding is a function of what is found for
the paths it looks up: if no changed dentry matches any of them, it takes the same way in both tables. But for one
thing: a walk may take so many steps, and finding is counted. What is found costs at most what it did plus what the
changed dentries alone cost; so a walk that had that much left ends in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from mesh.naming.bind import STEPS, Binding
from mesh.naming.dtab import Dentry, Dtab
from mesh.naming.prefix import Index
from mesh.naming.trace import Kind

MOST_COMPARED: Final = 1_000_000
"""Pairs of dentries. What is left of larger tables, when their common beginning and end are gone, counts as changed."""


class Difference:
    def __init__(self, before: Dtab, after: Dtab) -> None:
        changed = [dentry.prefix for dentry in _changed(before.dentries, after.dentries)]
        self._changed: Index[None] = Index((prefix, None) for prefix in changed)
        self.is_empty = not changed

    def touches(self, binding: Binding) -> bool:
        """Whether `binding`, made with one of the tables, might be another with the other."""
        if self.is_empty:
            return False
        left = STEPS - binding.spent
        for step in binding.trace.all():
            if step.kind is not Kind.LOOKUP:
                continue
            found, cost = self._changed.scan(step.path)
            left -= cost // 4 + 1
            if found or left < 0:
                return True
        return False


def _changed(before: Sequence[Dentry], after: Sequence[Dentry]) -> list[Dentry]:
    """Every dentry that has no counterpart among those that both tables have in one order."""
    shorter = min(len(before), len(after))
    start = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    most = shorter - start
    end = next((at for at in range(most) if before[-1 - at] != after[-1 - at]), most)
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if len(old) * len(new) > MOST_COMPARED:
        return [*old, *new]
    found = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [dentry for tag, a, b, c, d in found if tag != "equal" for dentry in (*old[a:b], *new[c:d])]
