"""Keeps every name in use bound: asks for what a binding wants, binds again when that changes, publishes what came out.

A binding is the pure function `mesh.naming.bind` of the table and the states of what it wanted. So when an observation
changes, only the names that wanted it are bound again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from discovery.address import Bound, Failed, Known, Neg, Pending, State
from discovery.observatory import Observatory
from discovery.path import Path
from mesh.agent.mirrors import Copy, copies
from mesh.agent.names import Key, Name, Names
from mesh.agent.publishing import Publishing
from mesh.agent.refusal import Refusal, refused
from mesh.agent.sparing import Sparing
from mesh.envoy.delegation import Delegated
from mesh.naming.bind import Binding, Broken, Namer, Options, Waiting, bind, has_endpoint
from mesh.naming.dtab import Dtab
from mesh.naming.trace import Grade, Step
from mesh.policy.effective import Policies

ROUNDS = 200
"""A walk wants at most one new observation per step it could not take before, and has at most 100 steps on a branch."""
ALIASES = 8
"""Spellings of one name (`Users`, `USERS`) that get a scope of their own. Any other costs a question to the brain each
time, so that nobody can fill the table with them."""


@dataclass(frozen=True, slots=True)
class Limits:
    names: int = 20_000
    refused: int = 1_000
    delegated: int = 1_000
    """Names under tables that requests bring: whoever may bring one can bring any number of them."""


class Binder:
    def __init__(
        self,
        *,
        dtab: Dtab,
        namers: Sequence[Namer],
        options: Options,
        limits: Limits,
        observatory: Observatory,
        publisher: Publishing,
        policies: Policies,
        clock: Callable[[], float],
    ) -> None:
        self.names = Names()
        self.dtab, self.namers, self.options = dtab, namers, options
        self._limits, self._observatory = limits, observatory
        self._publisher = publisher
        self._policies = policies
        self._clock = clock
        self._sparing = Sparing()
        self._gists: dict[Path, object] = {}
        self._untold: set[Path] = set()
        """What has no endpoint any more and Envoy has not been told."""
        self.unheard = False
        """Another table, or other sources, may be on their way: then we can't say what does not exist either."""
        self.binds = 0
        self.asked = 0
        self.on_wanted: Callable[[Path, State | None], None] = lambda _path, _state: None
        self.on_names_changed: Callable[[Name, bool], None] = lambda _name, _kept: None

    def ask(
        self,
        key: Key,
        path: Path,
        *,
        consumed: int = 0,
        adopted: bool = False,
        kept: bool = False,
        fixed: bool = False,
    ) -> Name | None:
        """The name in use, bound as far as it can be now. None when there is no room for another one."""
        now = self._clock()
        if (name := self._asked(key, now)) is not None:
            return name
        if not fixed and not self._room():
            return None
        self.asked += 1
        name = Name(*key, path, now, now, consumed=consumed, kept=kept, adopted=adopted, published=adopted, fixed=fixed)
        return self._added(name)

    def delegate(self, key: Key, path: Path, local: Dtab, delegated: Delegated, consumed: int) -> Name | None:
        """The name as it is bound for requests with this table, which none but they ask for."""
        now = self._clock()
        if (name := self._asked(key, now)) is not None:
            return name
        if self.names.delegated_count >= self._limits.delegated:
            oldest = next((name for name in self.names.delegated if not name.waiters), None)
            if oldest is None:
                return None
            self.drop(oldest)
        return self._added(Name(*key, path, now, now, consumed=consumed, local=local, delegated=delegated))

    def _asked(self, key: Key, now: float) -> Name | None:
        name = self.names.get(key)
        if name is not None:
            name.asked = now
            self.names.touch(name)
        return name

    def _added(self, name: Name) -> Name:
        self.names.add(name)
        self.rebind(name)
        return name

    def spelling(self, key: Key, path: Path) -> Key:
        """The key under which this request is served: its own, or the name as the path has it."""
        if self.names.get(key) is not None or len(self.names.aliases(path)) <= ALIASES:
            return key
        return key[0], path[-1]

    def take_grpc(self, name: Name) -> None:
        """From now on gRPC requests have a route, too."""
        if name.grpc:
            return
        name.grpc = True
        if name.kept and name.binding is not None and not is_waiting(name):
            self._act(name, name.binding)
            self._tell(name)

    def _room(self) -> bool:
        if self.names.refused_count >= self._limits.refused:
            oldest = next((name for name in self.names.refused if not name.waiters), None)
            if oldest is None:
                return False
            self.drop(oldest)
        return self.names.bound_count < self._limits.names

    def drop(self, name: Name) -> None:
        """The name is used no more: its scope goes, then (later) its clusters, and what it wanted is released.

        What a name that never existed wanted isn't observed a moment longer: random names must leave nothing behind.
        """
        self.names.discard(name)
        self._publisher.withdraw(name)
        for path in name.wanted | name.hurried:
            self._release(path, linger=name.kept)
        self._wake(name)
        if name.kept:
            name.kept = False
            self._tell(name)

    def _tell(self, name: Name) -> None:
        if name.local is None and not name.fixed:
            self.on_names_changed(name, name.kept)

    def on_state(self, path: Path, state: State) -> None:
        """Called by the observatory for every change. Most change endpoints only, which no binding depends on.

        Endpoints come before the routes that lead to them, and go after the routes have turned away.
        """
        comes = isinstance(state, Known) and isinstance(state.addr, Bound) and has_endpoint(state.addr)
        if comes:
            self._publisher.changed(path, state)
        if self.names.wanting(path):
            self.on_wanted(path, state)
            said = gist(state)
            if self._gists.get(path) != said:
                self._gists[path] = said
                for name in self.names.wanting(path):
                    self.rebind(name)
        if not comes:
            self._take_away(path, state)

    def _take_away(self, path: Path, state: State) -> None:
        """A name that waits for its alternate to answer is served as before until it has another way."""
        if any(name.published and is_waiting(name) for name in self.names.wanting(path)):
            self._untold.add(path)
        else:
            self._untold.discard(path)
            self._publisher.changed(path, state)

    def hurry(self, name: Name) -> None:
        """The first choice is slow: ask for every alternate now, so that none waits for another's time-out."""
        binding = self._bind(name, exhaustive=True)
        self._want(name, name.wanted, binding.wanted - name.wanted)

    def follow(self, name: Name) -> None:
        """Another table is in force, and nothing else has changed: bound again if that may lead it elsewhere."""
        if not self._sparing.spares(name, self.dtab):
            self.rebind(name)

    def way(self, name: Name) -> Step:
        """By the table in force: `name.binding` may be by an earlier one, with the same dentries in other lines."""
        return self._bind(name).trace

    def rebind(self, name: Name) -> None:
        name.binding = binding = self._settle(name)
        name.by = self.dtab
        if isinstance(binding.tree, Waiting):
            self.names.mark_refused(name, refused=not name.published)
            return
        if name.hurried:
            self._want(name, name.wanted, frozenset())
        self._act(name, binding)
        for path in self._untold & name.wanted:
            self._take_away(path, self._observatory.state(path))
        self._wake(name)

    def _settle(self, name: Name) -> Binding:
        fresh = frozenset[Path]()
        for _ in range(ROUNDS):
            binding = self._bind(name)
            # It rests on what these said: the same again, from the disk and then from a source, changes nothing.
            self._gists.update((path, gist(self._observatory.state(path))) for path in fresh)
            name.copies = self._copies(name) if binding.grade in (Grade.LIVE, Grade.LOST) else ()
            wanted = binding.wanted.union(*(each.binding.wanted for each in name.copies))
            fresh = wanted - name.wanted
            self._want(name, wanted, name.hurried)
            if all(isinstance(self._observatory.state(path), Pending) for path in fresh):
                break
        return binding

    def _bind(self, name: Name, *, exhaustive: bool = False) -> Binding:
        failover = self._policies.of_name(name.path).failover
        return self._walk(name, name.path, exhaustive=exhaustive, failover=failover)

    def _copies(self, name: Name) -> tuple[Copy, ...]:
        """A name without a mirror for its copies is served as ever."""
        return copies(self._policies.of_name(name.path), lambda path: self._walk(name, path))

    def _walk(self, name: Name, path: Path, *, exhaustive: bool = False, failover: bool = False) -> Binding:
        self.binds += 1
        dtab = self.dtab + name.local if name.local else self.dtab
        state, options = self._observatory.state, self.options
        return bind(dtab, path, self.namers, state, options, exhaustive=exhaustive, failover=failover)

    def _want(self, name: Name, wanted: frozenset[Path], hurried: frozenset[Path]) -> None:
        before, after = name.wanted | name.hurried, wanted | hurried
        name.wanted, name.hurried = wanted, hurried
        for path in after - before:
            self.names.wants(name, path)
            self._observatory.want(path)
            self.on_wanted(path, self._observatory.state(path))
        for path in before - after:
            self.names.wants_no_more(name, path)
            self._release(path)

    def _release(self, path: Path, *, linger: bool = True) -> None:
        self._observatory.release(path, linger=linger)
        if not self.names.wanting(path):
            self._untold.discard(path)
            self._gists.pop(path, None)
            self.on_wanted(path, None)

    def _act(self, name: Name, binding: Binding) -> None:
        if binding.grade not in (Grade.LIVE, Grade.LOST) and name.adopted and self.unanswered(binding):
            return
        name.adopted = False
        if binding.grade in (Grade.LIVE, Grade.LOST) and not isinstance(binding.tree, Waiting | Broken):
            self._publisher.publish(name, binding.tree)
        elif binding.grade is Grade.DEAD:
            self._publisher.refuse(name, self.refusal(name))
        else:
            self._publisher.withdraw(name)
        exists = binding.grade in (Grade.LIVE, Grade.LOST, Grade.DEAD)
        self.names.mark_refused(name, refused=not exists)
        if name.kept != exists:
            name.kept = exists
            self._tell(name)

    def unanswered(self, binding: Binding) -> bool:
        """Whether it rests on a source that has not answered: then we can't say what does not exist."""
        return self.unheard or any(
            isinstance(self._observatory.state(path), Failed | Pending) for path in binding.wanted
        )

    def refusal(self, name: Name) -> Refusal:
        assert name.binding is not None
        return refused(name.binding, name.key, unanswered=self.unanswered(name.binding), local=name.local)

    @staticmethod
    def _wake(name: Name) -> None:
        waiters, name.waiters = name.waiters, []
        for waiter in waiters:
            waiter()


def gist(state: State) -> object:
    """As much of a state as a binding depends on."""
    match state:
        case Known(Bound() as addr, lost=lost):
            return has_endpoint(addr), addr.protocol, lost is None
        case Known():
            return Neg
        case _:
            return state


def is_waiting(name: Name) -> bool:
    return name.binding is None or isinstance(name.binding.tree, Waiting)
