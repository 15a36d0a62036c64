"""What was found for one name, kept for others of its shape (see mesh.control.shape). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from discovery.path import Path
from mesh.agent.failover import won
from mesh.agent.overlap import endpoints_of, leaves
from mesh.control.destination import SERVED, together
from mesh.control.effect import Destination, Effect, Use, View
from mesh.control.shape import Gist, Shape, Shapes, Template, asked, gist
from mesh.naming.bind import AskState, Binding, Broken, Waiting
from mesh.naming.difference import Merged
from mesh.naming.explain import OUTCOMES
from mesh.naming.shares import shares_of
from mesh.policy.effective import Policies

MOST: Final = 32
"""Of one shape. Names whose observations differ in more ways than that are bound one by one."""
_Key = tuple[View, Template, int, bool]


@dataclass(frozen=True, slots=True)
class _End:
    """`text` has marks for the words of a name, `ids` their numbers; with each, whether it gets requests."""

    text: str
    outcome: str
    ids: tuple[tuple[Template, bool], ...]

    def of(self, shape: Shape, state: AskState) -> Destination | None:
        """None: the bound names of a union share endpoints, of which only one counts."""
        known = [(endpoints_of(state(shape.filled(id))), serves) for id, serves in self.ids]
        endpoints = together(found for found, _ in known)
        if len(endpoints) < sum(len(found) for found, _ in known):
            return None
        if not all(serves for _, serves in known):
            endpoints = together(found for found, serves in known if serves)
        return Destination(shape.written(self.text), self.outcome, endpoints)


@dataclass(frozen=True, slots=True)
class _Precedent:
    """`ends` None: nothing changes."""

    asked: tuple[tuple[Template, Gist], ...]
    ends: tuple[_End, _End] | None
    moves: float
    note: str | None

    def fits(self, shape: Shape, state: AskState) -> bool:
        return all(gist(state(shape.filled(template))) == known for template, known in self.asked)


@dataclass(frozen=True, slots=True)
class Found:
    """None: nothing changes."""

    effect: Effect | None


class Precedents:
    """Only while the policies stay as they are: these look at names in ways of their own."""

    def __init__(self, merged: Sequence[Merged], policies: Policies) -> None:
        """`merged`: both tables."""
        self._merged, self._policies = merged, policies
        self._shapes: dict[View, Shapes] = {}
        self._kept: dict[_Key, list[_Precedent]] = {}

    def shape(self, path: Path, view: View) -> Shape | None:
        """None: this name is to be looked at by itself."""
        shapes = self._shapes.get(view)
        if shapes is None:
            shapes = self._shapes[view] = self._seen_by(view)
        return None if self._policies.of_name(path).mirror else shapes.of(path)

    def _seen_by(self, view: View) -> Shapes:
        """To find shapes takes a look at every dentry; most views are alike in what that depends on."""
        known = (each for other, each in self._shapes.items() if (other.namers, other.dtab) == (view.namers, view.dtab))
        own = [Merged(dentry, is_before=True, is_after=True) for dentry in view.dtab]
        return next(known, None) or Shapes([*self._merged, *own], view.namers)

    def find(self, use: Use, view: View, shape: Shape, state: AskState) -> Found | None:
        kept = self._kept.get(self._key(use.path, view, shape), ())
        precedent = next((each for each in kept if each.fits(shape, state)), None)
        if precedent is None:
            return None
        if precedent.ends is None:
            return Found(None)
        before, after = (end.of(shape, state) for end in precedent.ends)
        if before is None or after is None:
            return None
        rate = sum(use.rates.values())
        return Found(Effect(use, rate, (), before, after, precedent.moves, note=precedent.note))

    def keep(
        self, view: View, shape: Shape, bindings: Sequence[Binding], effect: Effect | None, state: AskState
    ) -> None:
        path = bindings[0].path
        kept = self._kept.setdefault(self._key(path, view, shape), [])
        rests_on = asked(shape, bindings, state) if len(kept) < MOST else None
        if rests_on is None or any(isinstance(each.tree, Waiting | Broken) for each in bindings):
            return
        if effect is None:
            kept.append(_Precedent(rests_on, None, 0.0, None))
            return
        before, after = (_end(shape, each) for each in bindings)
        if all(end.of(shape, state) is not None for end in (before, after)):
            kept.append(_Precedent(rests_on, (before, after), effect.moves, effect.note))

    def _key(self, path: Path, view: View, shape: Shape) -> _Key:
        return view, shape.template, shape.role, self._policies.of_name(path).failover


def _end(shape: Shape, binding: Binding) -> _End:
    tree = binding.tree
    assert not isinstance(tree, Waiting | Broken)
    serving = won(tree)
    ids = dict.fromkeys(leaves(serving)) if binding.grade in SERVED else ()
    served = shares_of(serving, lambda bound: bound.id, None) if ids else {}
    return _End(shape.shown(tree), OUTCOMES[binding.grade], tuple((shape.of(id), id in served) for id in ids))
