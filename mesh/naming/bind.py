"""Binding: from a name, a table and what is known of the platforms to what the name leads to. Pure and total.

One walk binds and explains. It starts from the path, and for each path asks the table; only if that says plain `~`, the
namers whose prefix matches, the last configured first; then `/$/`. What they answer is bound in turn:

- Alternatives: from left to right. `~` moves on, `!` ends it with `!`, any other answer wins. One that has not answered
  yet holds the others back, one that is broken breaks the whole.
- Unions: all branches. Those that have not answered, or are broken, are left out while another is ready; then `~` and
  `!` are dropped. One branch left stands alone, none is `~`.
- A source says of a bound name that it exists (though it be empty) or that it does not, which is `~`.
- More than `max_depth` lookups on one branch are an error. So is the whole walk when it takes more than STEPS steps, or
  when more than OPEN alternatives and unions, or UNIONS unions, stand in each other: no table can hang its reader, and
  what comes out can be compared and hashed.

`Options` has the differences from Linkerd 1. With `empty` in `alternate_on`, an alternative that exists but is known to
have no endpoint is passed over if a later one has any; if none has, the first such one is the answer. A written `$` is
a decision, not an observation, and wins. A name that its source has lost, and whose endpoints are kept as a last
resort, is passed over, too, and is better than one without endpoints. In a union either counts while no branch has an
endpoint that is there. With `unanswered="missing"` a source that has never answered in time counts as `~`, and a union
in which nothing has an endpoint yet waits for its branches that have not answered.

Source: Finagle 21.4, com.twitter.finagle.Namer; Linkerd 1.7.5, ConfiguredNamersInterpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from discovery import address
from discovery.address import Failed, Known, Pending, State
from discovery.path import Path
from mesh.naming import utility
from mesh.naming.dtab import Dentry, Dtab
from mesh.naming.trace import Grade, Kind, Missing, Step
from mesh.naming.tree import Alt, BoundName, BoundTree, Empty, Fail, Leaf, NameTree, Neg, Union, Weighted
from mesh.naming.utility import Unusable

STEPS: Final = 5_000
"""A lookup is a step; long paths and prefixes that match in many ways count for more."""
OPEN: Final = 200
UNIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Waiting:
    """`paths` have not answered yet."""

    paths: frozenset[Path]
    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    kind: Literal["max_depth", "unknown_namer", "namer_failed"]
    reason: str


AskState = Callable[[Path], State]
Answer = NameTree[Path | BoundName] | Missing | Waiting | Broken


class Namer(Protocol):
    @property
    def prefix(self) -> Path: ...

    def lookup(self, rest: Path, state: AskState, /) -> Answer:
        """What `prefix` followed by `rest` leads to. A path is looked up in turn, in the table first.

        The id of a bound name is asked of `state` by `bind`, so that a namer need not. A namer that must know which
        names exist asks `state` itself; whatever it asks becomes wanted.
        """
        ...


@dataclass(frozen=True, slots=True)
class Options:
    alternate_on: frozenset[str] = frozenset(("missing", "empty"))
    unanswered: Literal["missing", "error"] = "missing"
    max_depth: int = 100

    def __post_init__(self) -> None:
        if "missing" not in self.alternate_on or not self.alternate_on <= {"missing", "empty"}:
            raise ValueError(f"alternate_on is [missing] or [missing, empty], not {sorted(self.alternate_on)}")


LINKERD: Final = Options(alternate_on=frozenset(("missing",)), unanswered="error")


@dataclass(frozen=True, slots=True)
class Binding:
    """`wanted`: every path that was asked of `state`. `grade` is what came of it, `trace` shows how. `spent`: what the
    walk took of its STEPS, with what it walked only to show."""

    path: Path
    tree: BoundTree | Waiting | Broken
    grade: Grade
    wanted: frozenset[Path]
    trace: Step
    spent: int


def bind(
    dtab: Dtab,
    path: Path,
    namers: Sequence[Namer],
    state: AskState,
    options: Options = Options(),
    *,
    exhaustive: bool = False,
    failover: bool = False,
) -> Binding:
    """`exhaustive`: also walk the alternatives after the one that won, to show them. The outcome is the same.

    `failover`: keep those of them that have endpoints, too, behind the one that won: as an `Alt` in its place.
    """
    return _Walk(dtab, namers, state, options, exhaustive=exhaustive, failover=failover).bind(Leaf(path), path)


def bind_tree(
    dtab: Dtab,
    tree: NameTree[Path],
    namers: Sequence[Namer],
    state: AskState,
    options: Options = Options(),
    *,
    exhaustive: bool = False,
) -> Binding:
    return _Walk(dtab, namers, state, options, exhaustive=exhaustive).bind(tree, Path())


def has_endpoint(addr: address.Bound) -> bool:
    """One that may get traffic."""
    for endpoint in addr.endpoints:  # noqa: SIM110 - `any` takes twice the time, and every walk asks this
        if endpoint.serves:
            return True
    return False


_Done = tuple[Grade, BoundTree | Waiting | Broken]
# The tree to bind, what is appended to its leaves, the path and the dentry it came from, its depth, where steps go.
_Node = tuple[NameTree[Path | BoundName], tuple[str, ...], Path, Dentry | None, int, list[Step]]

_NEG: Final[_Done] = (Grade.NEG, Neg())
_WRITTEN: Final[dict[type, _Done]] = {Neg: _NEG, Empty: (Grade.EMPTY, Empty()), Fail: (Grade.FAIL, Fail())}
_UNANSWERED = (Grade.WAITING, Grade.BROKEN)
_KEPT = (Grade.LIVE, Grade.LOST, Grade.DEAD, Grade.EMPTY)
"""Of a union, the best first."""


class _Exhausted(Exception):
    """The walk took too many steps."""


class _Alternatives:
    """One Alt under way."""

    __slots__ = ("_at", "_behind", "_follows", "_held", "_idle", "_nodes", "_step", "_walk", "done")

    def __init__(self, walk: _Walk, step: Step, nodes: Iterator[_Node]) -> None:
        self._walk, self._step, self._nodes = walk, step, nodes
        self._behind: list[BoundTree] = []
        self._follows = walk.failover
        self._at = -1
        self._held: tuple[int, _Done] | None = None
        self._idle = False
        self.done: _Done | None = None

    def take(self, result: _Done | None) -> _Node | None:
        """What came of the last branch; gives the next one to bind, None when `done` is final."""
        if result is not None and self.done is None:
            self._weigh(result)
        elif result is not None and self._follows:
            self._stand_by(result)
        self._at += 1
        further = self.done is None or self._walk.exhaustive or self._follows
        node = next(self._nodes, None) if further else None
        if node is None:
            self._end()
        elif self.done is not None and not self._idle:
            self._idle = True
            self._walk.idle += 1
        return node

    def _weigh(self, result: _Done) -> None:
        grade = result[0]
        if grade is Grade.NEG:
            return
        if grade is Grade.LOST or (grade is Grade.DEAD and self._walk.passes_dead):
            if self._held is None or (grade is Grade.LOST and self._held[1][0] is Grade.DEAD):
                self._held = (self._at, result)
        elif self._held is not None and grade not in (Grade.LIVE, Grade.WAITING):
            self._win(*self._held)
        else:
            self._win(self._at, result)

    def _stand_by(self, result: _Done) -> None:
        """What would have won without those before it; a written `!` or `$` lets nothing behind it win."""
        grade, tree = result
        if grade in (Grade.LIVE, Grade.LOST) and not isinstance(tree, Waiting | Broken):
            self._behind.append(tree)
        self._follows = grade not in (Grade.FAIL, Grade.EMPTY)

    def _win(self, at: int, result: _Done) -> None:
        self.done, self._step.chosen = result, at
        self._follows = self._follows and result[0] in (Grade.LIVE, Grade.LOST)

    def _end(self) -> None:
        if self._idle:
            self._walk.idle -= 1
        if self.done is None and self._held is not None:
            self._win(*self._held)
        self.done = self.done or _NEG
        grade, tree = self.done
        if self._behind and not isinstance(tree, Waiting | Broken):
            self.done = grade, Alt((tree, *self._behind))
        self._step.grade = grade


class _Split:
    """One Union under way."""

    __slots__ = ("_nodes", "_results", "_step", "_walk", "done")

    def __init__(self, walk: _Walk, step: Step, nodes: Iterator[_Node]) -> None:
        self._walk, self._step, self._nodes = walk, step, nodes
        self._results: list[_Done] = []
        self.done: _Done | None = None

    def take(self, result: _Done | None) -> _Node | None:
        if result is not None:
            self._results.append(result)
        node = next(self._nodes, None)
        if node is None:
            self.done = self._waiting() or self._failed() or self._ready()
            self._step.grade = self.done[0]
        return node

    def _waiting(self) -> _Done | None:
        grades = [grade for grade, _ in self._results]
        if Grade.WAITING not in grades:
            return None
        wait = Grade.LIVE not in grades if self._walk.patient else all(grade is Grade.WAITING for grade in grades)
        return (Grade.WAITING, _all_waiting(self._results)) if wait else None

    def _failed(self) -> _Done | None:
        if any(grade not in _UNANSWERED for grade, _ in self._results):
            return None
        return next((result for result in self._results if result[0] is Grade.BROKEN), None)

    def _ready(self) -> _Done:
        kept = [
            (weight, grade, tree)
            for weight, (grade, tree) in zip(self._step.weights, self._results, strict=True)
            if grade in _KEPT and not isinstance(tree, Waiting | Broken)
        ]
        if any(grade is Grade.LIVE for _, grade, _ in kept):
            passed = (Grade.LOST, Grade.DEAD) if self._walk.passes_dead else (Grade.LOST,)
            kept = [each for each in kept if each[1] not in passed]
        if not kept:
            return _NEG
        if len(kept) == 1:
            return kept[0][1], kept[0][2]
        grades = {grade for _, grade, _ in kept}
        best = next(grade for grade in _KEPT if grade in grades)
        return best, Union(tuple(Weighted(weight, tree) for weight, _, tree in kept))


def _all_waiting(results: Sequence[_Done]) -> Waiting:
    waiting = [tree for _, tree in results if isinstance(tree, Waiting)]
    reasons = dict.fromkeys(each.reason for each in waiting)
    return Waiting(frozenset[Path]().union(*(each.paths for each in waiting)), "; ".join(reasons))


class _Walk:
    """Explicit stack: neither long chains nor deep trees can exhaust Python's."""

    def __init__(
        self,
        dtab: Dtab,
        namers: Sequence[Namer],
        state: AskState,
        options: Options,
        *,
        exhaustive: bool,
        failover: bool = False,
    ) -> None:
        self._dtab, self._ask_state, self._options = dtab, state, options
        self._namers = [(namer.prefix, namer) for namer in reversed(namers)]
        self._states: dict[Path, State] = {}
        self._open: list[_Alternatives | _Split] = []
        self._unions = 0
        self._left = self._spare = STEPS
        self.exhaustive, self.failover = exhaustive, failover
        self.passes_dead = "empty" in options.alternate_on
        self.patient = options.unanswered == "missing"
        self.idle = 0
        """Over 0 while walking what can't change the outcome any more. Such steps have an allowance of their own."""

    def bind(self, tree: NameTree[Path], path: Path) -> Binding:
        steps: list[Step] = []
        try:
            grade, outcome = self._run((tree, (), path, None, 0, steps))
        except _Exhausted:
            reason = (
                f"it takes more than {STEPS} steps, or nests too deeply: the table branches or rewrites without end"
            )
            grade, outcome = Grade.BROKEN, Broken("max_depth", reason)
            steps[0].reason = reason
        spent = 2 * STEPS - self._left - self._spare
        return Binding(path, outcome, grade, frozenset(self._states), steps[0], spent)

    def _run(self, node: _Node) -> _Done:
        done = self._enter(node)
        while self._open:
            frame = self._open[-1]
            following = frame.take(done)
            if following is None:
                self._open.pop()
                self._unions -= isinstance(frame, _Split)
                done = frame.done
            else:
                done = self._enter(following)
        assert done is not None
        return done

    def _enter(self, node: _Node) -> _Done | None:
        """Follows lookups to an answer. None: alternatives or a union have to be bound first."""
        tree, rest, origin, dentry, depth, sink = node
        while isinstance(tree, Leaf):
            value = tree.value
            if isinstance(value, BoundName):
                step = Step(Kind.LOOKUP, origin, dentry)
                sink.append(step)
                return self._observed(value, step)
            path = Path(value + rest) if rest else value
            step = Step(Kind.LOOKUP, path, dentry)
            sink.append(step)
            found, cost = self._dtab.scan(path)
            if not self._affords(cost // 4 + len(path) // 16 + 1):
                return self._cut(step)
            if len(found) > 1:
                return self._alternatives(path, step, found, depth)
            answer = self._single(path, step, found, depth)
            if isinstance(answer, tuple):
                return answer
            tree, origin, depth, sink = answer, path, depth + 1, step.steps
            if found:
                dentry, rest = found[0], path[len(found[0].prefix) :]
            else:
                rest = ()
        return self._compound(tree, rest, origin, dentry, depth, sink)

    def _alternatives(self, path: Path, step: Step, found: list[Dentry], depth: int) -> _Done | None:
        if depth >= self._options.max_depth:
            return self._too_deep(step)
        alt = Step(Kind.ALT, path, step.dentry)
        step.steps.append(alt)
        nodes = ((each.tree, path[len(each.prefix) :], path, each, depth + 1, alt.steps) for each in found)
        return self._begin(alt, _Alternatives(self, alt, nodes))

    def _compound(
        self,
        tree: NameTree[Path | BoundName],
        rest: tuple[str, ...],
        origin: Path,
        dentry: Dentry | None,
        depth: int,
        sink: list[Step],
    ) -> _Done | None:
        step = Step(Kind.WRITTEN, origin, dentry)
        sink.append(step)
        if not self._affords(1):
            return self._cut(step)
        match tree:
            case Alt(trees):
                step.kind = Kind.ALT
                nodes = ((each, rest, origin, dentry, depth, step.steps) for each in trees)
                return self._begin(step, _Alternatives(self, step, nodes))
            case Union(branches):
                step.kind, step.weights = Kind.UNION, tuple(branch.weight for branch in branches)
                nodes = ((branch.tree, rest, origin, dentry, depth, step.steps) for branch in branches)
                # A union of one is its branch: a refusal stays a refusal.
                alone = len(branches) == 1
                return self._begin(step, (_Alternatives if alone else _Split)(self, step, nodes))
        done = _WRITTEN[type(tree)]
        step.grade = done[0]
        return done

    def _begin(self, step: Step, frame: _Alternatives | _Split) -> _Done | None:
        unions = self._unions + isinstance(frame, _Split)
        if len(self._open) >= OPEN or unions > UNIONS:
            return self._stop(step)
        self._unions = unions
        self._open.append(frame)
        return None

    def _single(self, path: Path, step: Step, found: list[Dentry], depth: int) -> NameTree[Path | BoundName] | _Done:
        """At most one dentry matches. Gives the tree to bind next, or the answer."""
        deepest = depth >= self._options.max_depth
        if found and not isinstance(found[0].tree, Neg):
            return self._too_deep(step) if deepest else found[0].tree
        answer = self._named(path, step)
        if deepest and not (isinstance(answer, tuple) and answer[0] in _UNANSWERED):
            return self._too_deep(step)
        if answer is _NEG and found:
            step.grade = None
            step.steps.append(Step(Kind.WRITTEN, path, found[0], Grade.NEG))
        return answer

    def _named(self, path: Path, step: Step) -> NameTree[Path | BoundName] | _Done:
        reasons: list[str] = []
        for prefix, namer in self._namers:
            if path[: len(prefix)] != prefix:
                continue
            answer = self._judged(namer.lookup(path.drop(len(prefix)), self._state), step)
            if answer is not _NEG:
                return answer
            reasons.append(step.reason)
        answer = self._judged(utility.lookup(path), step)
        if answer is _NEG:
            step.grade, step.reason = Grade.NEG, "; ".join(reasons) or step.reason
        return answer

    def _judged(self, answer: Answer | Unusable, step: Step) -> NameTree[Path | BoundName] | _Done:
        """`_NEG` leaves the step open: another namer may answer."""
        match answer:
            case Leaf(BoundName() as name):
                return self._observed(name, step)
            case Neg() | Missing():
                step.reason = answer.reason if isinstance(answer, Missing) else "no such name"
                return _NEG
            case Unusable(reason, known):
                return self._closed(step, Grade.BROKEN, Broken("namer_failed" if known else "unknown_namer", reason))
            case Empty() | Fail():
                step.grade = _WRITTEN[type(answer)][0]
                return _WRITTEN[type(answer)]
            case Broken():
                return self._closed(step, Grade.BROKEN, answer)
            case Waiting():
                return self._closed(step, Grade.WAITING, answer)
            case _:
                return answer

    def _observed(self, name: BoundName, step: Step) -> _Done:
        match self._state(name.id):
            case Known(address.Bound() as addr, held=held, lost=lost):
                step.name, step.grade = name, Grade.LIVE if has_endpoint(addr) else Grade.DEAD
                if lost is not None and step.grade is Grade.LIVE:
                    step.grade = Grade.LOST
                step.reason = f"held: {held}" if held else ""
                return step.grade, Leaf(name)
            case Known(held=held):
                step.grade, step.reason = Grade.NEG, f"no such name (held: {held})" if held else "no such name"
                return _NEG
            case Pending(reason):
                step.grade = Grade.WAITING
                step.reason = f"has not answered yet{f' ({reason})' if reason else ''}"
                return step.grade, Waiting(frozenset((name.id,)), f"{name.id.show()} {step.reason}")
            case Failed(reason):
                step.grade, step.reason = Grade.NEG, f"has not answered: {reason}"
                if self.patient:
                    return _NEG
                step.grade = Grade.BROKEN
                return step.grade, Broken("namer_failed", f"{name.id.show()} {step.reason}")

    def _closed(self, step: Step, grade: Grade, outcome: Waiting | Broken) -> _Done:
        step.grade, step.reason = grade, outcome.reason
        return grade, outcome

    def _too_deep(self, step: Step) -> _Done:
        shown = step.path.show()
        reason = f"more than {self._options.max_depth} lookups, the last of {shown[:60]}{'…' * (len(shown) > 60)}"
        step.name = None
        return self._closed(step, Grade.BROKEN, Broken("max_depth", f"{reason}: the table rewrites in a circle"))

    def _state(self, path: Path) -> State:
        known = self._states.get(path)
        if known is None:
            known = self._states[path] = self._ask_state(path)
        return known

    def _affords(self, cost: int) -> bool:
        if self.idle:
            self._spare -= cost
            return self._spare >= 0
        self._left -= cost
        if self._left < 0:
            raise _Exhausted
        return True

    def _stop(self, step: Step) -> _Done:
        if not self.idle:
            raise _Exhausted
        return self._cut(step)

    def _cut(self, step: Step) -> _Done:
        """What can't change the outcome is shown only as far as the allowance goes."""
        return self._closed(step, Grade.BROKEN, Broken("max_depth", f"not followed further, after {STEPS} steps"))
