"""The names in use on this host: what was asked for, what it is bound to, and which observation concerns which name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from discovery.path import Path
from mesh.agent.mirrors import Copy
from mesh.envoy.delegation import Delegated
from mesh.naming.bind import Binding
from mesh.naming.dtab import Dtab

Key = tuple[str, str]
"""The router's name, and what identifies the request there (mesh.envoy.keys). By Host: as it was sent, without
port."""


@dataclass(slots=True, eq=False)
class Name:
    """One name in use. `asked` and `used` are seconds on the agent's monotonic clock."""

    router: str
    key: str
    path: Path
    asked: float
    used: float
    consumed: int = 0
    """How many segments of the path are not sent on."""
    binding: Binding | None = None
    by: Dtab | None = None
    """The table that this is the binding by; another one said the same of it where it was made."""
    wanted: frozenset[Path] = frozenset()
    hurried: frozenset[Path] = frozenset()
    """Alternates asked for ahead of need, because the first choice is slow to answer."""
    clusters: frozenset[Path] = frozenset()
    """The bound names it leads to; `targets` are the clusters that Envoy has for them."""
    targets: frozenset[str] = frozenset()
    copies: tuple[Copy, ...] = ()
    """Where copies of its requests go; `mirrored` are those of the clusters that only these need."""
    mirrored: AbstractSet[str] = frozenset()
    grpc: bool = False
    """It was asked for with gRPC."""
    published: bool = False
    kept: bool = False
    """It exists, so the disk remembers it."""
    adopted: bool = False
    """Envoy has it from an earlier brain, and our sources haven't answered for it yet: nothing of it is withdrawn."""
    fixed: bool = False
    """All that its router leads to: in use as long as the agent runs."""
    local: Dtab | None = None
    """The table that requests bring; this name is for these alone. None: it is for all others."""
    delegated: Delegated | None = None
    waiters: list[Callable[[], None]] = field(default_factory=list)

    @property
    def id(self) -> Key:
        return self.router, self.key


class Names:
    """A table with three orders: by key, by observation, and by when it was last of use."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Name] = {}
        self._by_wanted: dict[Path, dict[Key, Name]] = {}
        self._refused: OrderedDict[Key, Name] = OrderedDict()
        self._by_path: dict[Path, dict[Key, Name]] = {}
        self._delegated: OrderedDict[Key, Name] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Name]:
        return iter(self._by_key.values())

    def get(self, key: Key) -> Name | None:
        return self._by_key.get(key)

    def add(self, name: Name) -> None:
        self._by_key[name.id] = name
        if name.local is not None:
            self._delegated[name.id] = name
            return
        self._by_path.setdefault(name.path, {})[name.id] = name

    def discard(self, name: Name) -> None:
        del self._by_key[name.id]
        self._refused.pop(name.id, None)
        self._delegated.pop(name.id, None)
        _take(self._by_path, name.path, name)
        for path in name.wanted | name.hurried:
            _take(self._by_wanted, path, name)

    def wants(self, name: Name, path: Path) -> None:
        self._by_wanted.setdefault(path, {})[name.id] = name

    def wants_no_more(self, name: Name, path: Path) -> None:
        _take(self._by_wanted, path, name)

    def wanting(self, path: Path) -> tuple[Name, ...]:
        return tuple(self._by_wanted.get(path, {}).values())

    def aliases(self, path: Path) -> tuple[Name, ...]:
        """The names that differ only in how their key is written, oldest first."""
        return tuple(self._by_path.get(path, {}).values())

    def mark_refused(self, name: Name, *, refused: bool) -> None:
        """Refused names are many and cheap to lose: they have an order of their own, oldest first."""
        if not refused or name.fixed or name.local is not None:
            self._refused.pop(name.id, None)
        else:
            self._refused[name.id] = name
            self._refused.move_to_end(name.id)

    def touch(self, name: Name) -> None:
        for order in (self._refused, self._delegated):
            if name.id in order:
                order.move_to_end(name.id)

    @property
    def bound_count(self) -> int:
        return self.in_use - len(self._refused)

    @property
    def in_use(self) -> int:
        """How many there are, those for tables that requests bring apart."""
        return len(self._by_key) - len(self._delegated)

    @property
    def delegated(self) -> Iterable[Name]:
        """Those for tables that requests bring, the one that was asked for longest ago first."""
        return self._delegated.values()

    @property
    def delegated_count(self) -> int:
        return len(self._delegated)

    @property
    def refused(self) -> Iterable[Name]:
        return self._refused.values()

    @property
    def refused_count(self) -> int:
        return len(self._refused)


def _take(index: dict[Path, dict[Key, Name]], path: Path, name: Name) -> None:
    entries = index.get(path)
    if entries is not None:
        entries.pop(name.id, None)
        if not entries:
            del index[path]
