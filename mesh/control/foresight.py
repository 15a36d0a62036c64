"""What a change of table and policies does to one name in use, over the same observations. Pure.

Both tables are bound by the function that agents bind with. Two things save work, and change nothing of the answer: a
name that the changed dentries can't touch is bound once, and names of one shape are bound for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from discovery.address import Failed, Pending, State
from discovery.path import Path
from mesh.agent.overlap import leaves
from mesh.control.destination import SERVED, Way, shown
from mesh.control.effect import Copies, Effect, Rules, Unknown, Use, View
from mesh.control.precedent import Precedents
from mesh.control.settings_difference import SettingsDifference
from mesh.naming.bind import AskState, Binding, Broken, Namer, Options, bind
from mesh.naming.difference import Difference
from mesh.naming.dtab import Dtab
from mesh.naming.trace import Grade

Answer = Effect | Unknown | None


@dataclass(frozen=True, slots=True)
class _Walk:
    """Both bindings of one name for one view."""

    use: Use
    view: View
    state: AskState
    before: Binding
    after: Binding


@dataclass(frozen=True, slots=True)
class _Found:
    """`own`: what it rests on; None where the control plane was asked."""

    namers: Sequence[Namer]
    dtab: Dtab
    own: Mapping[Path, State | None]
    answer: Answer

    def fits(self, view: View) -> bool:
        alike = self.namers == view.namers and self.dtab == view.dtab
        return alike and all(view.state(path) == state for path, state in self.own.items())


class Foresight:
    """What was read once isn't read again, so that all names are seen under the same observations."""

    def __init__(self, before: Rules, after: Rules, options: Options, state: AskState) -> None:
        self._before, self._after, self._options, self._ask = before, after, options, state
        self._difference = Difference(before.dtab, after.dtab)
        self._settings = SettingsDifference(before.policies, after.policies)
        self._precedents = Precedents(self._difference.merged, after.policies)
        self._states: dict[Path, State] = {}
        self._tables: dict[tuple[View, bool], Dtab] = {}

    def learn(self, paths: Iterable[Path]) -> None:
        """These had no answer, and may have one now."""
        for path in paths:
            self._states.pop(path, None)

    def of(self, use: Use) -> list[Effect | Unknown]:
        """Nothing where nothing changes; more than one where agents see different things."""
        if len(use.rates) > 1:
            return _summed(use, self._by_view(use))
        (view,) = use.rates
        answer = self._one(use, view)
        return [] if answer is None else [answer]

    def _one(self, use: Use, view: View) -> Answer:
        shape = self._precedents.shape(use.path, view) if self._settings.is_empty else None
        if shape is None:
            return self._answer(self._walk(use, view))
        state = self._state(view, None)
        if (known := self._precedents.find(use, view, shape, state)) is not None:
            return known.effect
        walk = self._walk(use, view)
        answer = self._answer(walk)
        if not isinstance(answer, Unknown):
            self._precedents.keep(view, shape, (walk.before, walk.after), answer, state)
        return answer

    def _by_view(self, use: Use) -> list[tuple[View, Answer]]:
        found: list[_Found] = []
        by_view: list[tuple[View, Answer]] = []
        for view in use.rates:
            known = next((each for each in found if each.fits(view)), None)
            if known is None:
                own: dict[Path, State | None] = {}
                known = _Found(view.namers, view.dtab, own, self._answer(self._walk(use, view, own)))
                found.append(known)
            by_view.append((view, known.answer))
        return by_view

    def _walk(self, use: Use, view: View, own: dict[Path, State | None] | None = None) -> _Walk:
        state = self._state(view, own)
        before = after = self._bind(self._before, use.path, view, state)
        if self._difference.touches(before) or self._settings.failover(use.path):
            after = self._bind(self._after, use.path, view, state)
        return _Walk(use, view, state, before, after)

    def _answer(self, walk: _Walk) -> Answer:
        use, before, after, state = walk.use, walk.before, walk.after, walk.state
        if after is not before and (reason := _rests_on(before, state) or _rests_on(after, state)):
            pending = (path for path in before.wanted | after.wanted if isinstance(state(path), Pending))
            waits_for = frozenset(path for path in pending if walk.view.state(path) is None)
            return Unknown(use, sum(use.rates.values()), (), reason, waits_for)
        is_served = before.grade in SERVED or after.grade in SERVED
        copies = self._copies(use.path, walk.view, state) if is_served else ()
        settings = self._settings.of(use.path, leaves(after.tree))
        differs = _differs(before, after)
        if not (differs or settings or copies):
            return None
        one = Way(before, state)
        other = Way(after, state) if differs else one
        failed = _failed(after, state) if differs else None
        moves = float(one.moved(other))
        note = _note(failed, settings, is_shown=differs and not moves and one.is_served and other.is_served)
        rate = sum(use.rates.values())
        return Effect(use, rate, (), one.destination, other.destination, moves, settings, copies, note)

    def _bind(self, rules: Rules, path: Path, view: View, state: AskState) -> Binding:
        failover = rules.policies.of_name(path).failover
        return bind(self._table(rules, view), path, view.namers, state, self._options, failover=failover)

    def _table(self, rules: Rules, view: View) -> Dtab:
        """With the agents' own dentries, joined once for all names."""
        if not view.dtab:
            return rules.dtab
        key = view, rules is self._after
        if key not in self._tables:
            self._tables[key] = rules.dtab + view.dtab
        return self._tables[key]

    def _copies(self, path: Path, view: View, state: AskState) -> tuple[Copies, ...]:
        """Of mirrors that both policies have: others are told as settings that change."""
        mirrored = () if self._difference.is_empty else self._settings.mirrors(path)
        copies = []
        for to in mirrored:
            before, after = (
                bind(self._table(rules, view), to, view.namers, state, self._options)
                for rules in (self._before, self._after)
            )
            if before.tree != after.tree:
                copies.append(Copies(to, shown(before), shown(after)))
        return tuple(copies)

    def _state(self, view: View, own: dict[Path, State | None] | None) -> AskState:
        if not view.roots and own is None:
            return self._shared

        def state(path: Path) -> State:
            found = view.state(path)
            if own is not None:
                own[path] = found
            return self._shared(path) if found is None else found

        return state

    def _shared(self, path: Path) -> State:
        known = self._states.get(path)
        if known is None:
            known = self._states[path] = self._ask(path)
        return known


def _differs(before: Binding, after: Binding) -> bool:
    """A name that can't be bound either way gets the same answer, whatever the reason."""
    if isinstance(before.tree, Broken) and isinstance(after.tree, Broken):
        return False
    return (before.tree, before.grade) != (after.tree, after.grade)


def _rests_on(binding: Binding, state: AskState) -> str | None:
    """What of its way is not known yet. What was asked for and did not matter has no step."""
    pending = {path: each for path in binding.wanted if isinstance(each := state(path), Pending)}
    if not pending or all(step.grade is not Grade.WAITING for step in binding.trace.all()):
        return None
    first = min(pending)
    return f"{first.show()}: {pending[first].reason or 'it has not answered yet'}"


def _failed(binding: Binding, state: AskState) -> str | None:
    failed = (path for path in sorted(binding.wanted) if isinstance(state(path), Failed))
    return next((f"{path.show()} has not answered, so it counts as missing" for path in failed), None)


def _note(failed: str | None, settings: tuple[str, ...], *, is_shown: bool) -> str | None:
    """`is_shown`: it is another tree, and yet every request goes where it went."""
    notes = [failed] if failed else []
    if settings:
        notes.append(f"settings change: {', '.join(settings)}")
    if is_shown:
        notes.append("requests go where they went")
    return "; ".join(notes) or None


def _summed(use: Use, by_view: Iterable[tuple[View, Answer]]) -> list[Effect | Unknown]:
    """Views in which the same becomes of the name are one; `agents` says whose, where not all agree."""
    together: dict[object, tuple[Answer, list[View]]] = {}
    for view, answer in by_view:
        together.setdefault(_gist(answer), (answer, []))[1].append(view)
    return [
        replace(
            answer,
            rate=sum(use.rates[view] for view in views),
            agents=tuple(sorted(agent for view in views for agent in view.agents)) if len(together) > 1 else (),
        )
        for answer, views in together.values()
        if answer is not None
    ]


def _gist(answer: Answer) -> object:
    if not isinstance(answer, Effect):
        return type(answer)
    ends = answer.before, answer.after
    return tuple((each.tree, each.outcome) for each in ends), answer.settings, answer.copies
