"""What a change of table and policies does to a name in use: values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from discovery.address import Endpoint, Pending, State
from discovery.path import Path
from mesh.naming.bind import Namer
from mesh.naming.dtab import Dtab
from mesh.policy.effective import Policies


@dataclass(frozen=True, slots=True)
class Rules:
    """What a namespace's content says."""

    dtab: Dtab
    policies: Policies


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What some agents see alike. `own`: the names that sources of their own observe; `roots`: the prefixes of these
    sources, whose other names nobody but they can tell of. All other names are asked of the control plane. `dtab`: of
    their own configuration, which comes after the namespace's."""

    namers: Sequence[Namer]
    agents: tuple[str, ...] = ()
    own: Mapping[Path, State] = field(default_factory=dict)
    roots: tuple[Path, ...] = ()
    dtab: Dtab = field(default_factory=Dtab)

    def over(self, namers: Sequence[Namer]) -> View:
        """With the namers of the control plane, too. Of two with one prefix, the agent's own is asked."""
        others = [each for each in namers if each.prefix not in self.roots]
        return replace(self, namers=(*others, *self.namers))

    def forgotten(self) -> View:
        """Of another time: what agents observed themselves is told of the present only."""
        return replace(self, own={})

    def state(self, path: Path) -> State | None:
        """None: it is asked of the control plane."""
        if not self.roots:
            return None
        if (known := self.own.get(path)) is not None:
            return known
        if not any(path.startswith(root) for root in self.roots):
            return None
        return Pending("only agents with this source of their own can tell, and they have not observed it")


@dataclass(frozen=True, slots=True)
class Use:
    """A name in use. `rates`: requests per second, by who sends them."""

    router: str
    path: Path
    rates: Mapping[View, float]


@dataclass(frozen=True, slots=True)
class Destination:
    """`outcome` is one of mesh.naming.explain's. `endpoints`: each address and port once."""

    tree: str
    outcome: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """Where a mirror's copies go."""

    to: Path
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Effect:
    """`moves`: the share of the name's requests that gets another destination. `settings`: the keys of policies that
    change for it, `before` and `after` are equal if it is these alone. `agents`: those it holds for; empty: all."""

    use: Use
    rate: float
    agents: tuple[str, ...]
    before: Destination
    after: Destination
    moves: float
    settings: tuple[str, ...] = ()
    copies: tuple[Copies, ...] = ()
    note: str | None = None

    @property
    def breaks(self) -> bool:
        return self.before.outcome == "bound" and self.after.outcome != "bound"


@dataclass(frozen=True, slots=True)
class Unknown:
    """What the change does to the name rests on something that nobody knows yet. `waits_for`: what of it can be asked
    of the control plane."""

    use: Use
    rate: float
    agents: tuple[str, ...]
    reason: str
    waits_for: frozenset[Path] = frozenset()
