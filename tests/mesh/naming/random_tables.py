"""Small random tables, paths and states: circles, wildcards, unions, alternatives and emptiness are frequent."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from discovery.address import Bound, Endpoint, Failed, Health, Known, Neg, Pending, State, bound
from discovery.path import Path
from mesh.naming import tree
from mesh.naming.dtab import Dentry, Dtab
from mesh.naming.prefix import WILDCARD, Element
from mesh.naming.tree import Alt, Leaf, NameTree, Union, Weighted

NAMERS = ((Path(("n",)), 1), (Path(("n", "a")), 1), (Path(("n", "b")), 0))
_RULED = [Path(("$", *rest)) for rest in (("nil",), ("fail",), ("inet", "1"), ("inet", "1", "a"), ("bad",), ())]
_LIVE = Known(bound([Endpoint("10.0.0.1", 80)]), 0, 0)
_STATES: list[State] = [
    _LIVE,
    _LIVE,
    Known(_LIVE.addr, 0, 0, held="the platform can't be asked"),
    Known(Bound(), 0, 0),
    Known(bound([Endpoint("10.0.0.1", 80, health=Health.UNHEALTHY), Endpoint("10.0.0.2", 80, weight=0)]), 0, 0),
    Known(Neg(), 0, 0),
    Known(Neg(), 0, 0),
    Pending(),
    Failed("dark"),
]


def path(rng: random.Random) -> Path:
    kind = rng.random()
    if kind < 0.35:
        return Path(("n", *rng.choices("abc", k=rng.randint(0, 3))))
    if kind < 0.42:
        return rng.choice(_RULED)
    return Path(rng.choices("abcd", k=rng.choice((0, 1, 1, 1, 2, 2, 3))))


def prefix(rng: random.Random) -> tuple[Element, ...]:
    if rng.random() < 0.06:
        return ("n",) if rng.random() < 0.7 else ("$",)
    length = rng.choice((0, 1, 1, 1, 1, 1, 2, 2, 2, 3))
    return tuple(WILDCARD if rng.random() < 0.15 else rng.choice("abcd") for _ in range(length))


def name_tree(rng: random.Random, nesting: int = 2) -> NameTree[Path]:
    kind = rng.random()
    if nesting == 0 or kind < 0.62:
        return Leaf(path(rng)) if rng.random() < 0.85 else rng.choice((tree.Neg(), tree.Fail(), tree.Empty()))
    branches = [name_tree(rng, nesting - 1) for _ in range(rng.choice((2, 2, 3)))]
    if kind < 0.81:
        return Alt(tuple(branches))
    return Union(tuple(Weighted(rng.choice((0.0, 0.5, 1.0, 9.0)), each) for each in branches))


def table(rng: random.Random) -> Dtab:
    dentries = [Dentry(prefix(rng), name_tree(rng)) for _ in range(rng.randint(0, 6))]
    cut = rng.randint(0, len(dentries))
    return Dtab(dentries[:cut]) + Dtab(dentries[cut:])


def states(seed: int) -> Callable[[Path], State]:
    """Any path has a state; the same one whenever it is asked."""
    known: dict[Path, State] = {}

    def state(asked: Path) -> State:
        if asked not in known:
            known[asked] = _STATES[zlib.crc32(f"{seed} {asked.show()}".encode()) % len(_STATES)]
        return known[asked]

    return state
