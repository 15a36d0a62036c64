"""Names that another table can't touch keep their binding. Pure.

What `mesh.naming.difference` says of a binding holds for any of the two tables it was made by. A name's may be by any
of the last few: a burst of tables finds names that are not bound by the one before yet.
"""

from __future__ import annotations

from dataclasses import replace

from mesh.agent.names import Name
from mesh.naming.bind import Binding
from mesh.naming.difference import Difference
from mesh.naming.dtab import Dtab
from mesh.naming.trace import Grade


class Sparing:
    def __init__(self) -> None:
        self._to = Dtab()
        self._by_origin: dict[int, tuple[Dtab, Difference]] = {}
        """By the identity of the table, which is kept with it so that no other gets its number."""

    def spares(self, name: Name, dtab: Dtab) -> bool:
        """Whether its binding is what `dtab` binds it to; then it counts as by this table from now on.

        Of a name that is refused callers are told in which lines of the table that was decided: it is bound again.
        """
        if name.binding is None or name.by is None or name.binding.grade not in (Grade.LIVE, Grade.LOST):
            return False
        if name.by is not dtab:
            difference = self._difference(name.by, dtab)
            bindings = [_kept(difference, each) for each in (name.binding, *(copy.binding for copy in name.copies))]
            kept = [each for each in bindings if each is not None]
            if len(kept) < len(bindings):
                return False
            name.binding, *copies = kept
            name.copies = tuple(replace(copy, binding=each) for copy, each in zip(name.copies, copies, strict=True))
            name.by = dtab
        return True

    def _difference(self, before: Dtab, after: Dtab) -> Difference:
        if self._to is not after:
            self._to, self._by_origin = after, {}
        if id(before) not in self._by_origin:
            self._by_origin[id(before)] = before, Difference(before, after)
        return self._by_origin[id(before)][1]


def _kept(difference: Difference, binding: Binding) -> Binding | None:
    """With what the walk takes at most by the other table: of many changes each might add something."""
    spent = difference.spent(binding)
    return None if spent is None else replace(binding, spent=spent)
