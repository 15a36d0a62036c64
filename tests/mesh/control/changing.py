"""Random changes of a table in a random world, and what real binders make of both."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from fractions import Fraction

from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration

from discovery.address import Addr, Bound, Endpoint, Health, Known, Neg, State, bound
from discovery.dns.inet import INET, InetSource
from discovery.dns.resolver import Resolver
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Unavailable
from mesh.agent.binder import Binder, Limits
from mesh.agent.names import Name
from mesh.agent.publisher import Publisher
from mesh.control.effect import Rules
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME
from mesh.envoy.names import scope_resource
from mesh.naming import tree
from mesh.naming.bind import Namer, Options
from mesh.naming.dtab import Dentry, Dtab
from mesh.naming.namers import SourceNamer
from mesh.naming.prefix import WILDCARD, Element
from mesh.naming.tree import Alt, Leaf, NameTree, Union, Weighted
from mesh.policy.effective import Policies
from mesh.policy.entry import PolicyEntry
from mesh.xds.resource import SCOPE
from mesh.xds.server import Ads
from mesh.xds.store import Store
from tests.binding import decoded
from tests.fakes.memory import Platform
from tests.virtual_time import settle

WORDS = "abc"
"""Of which tables speak."""
OTHERS = "vwxyz"
NAMES = [Path(("svc", word)) for word in WORDS + OTHERS]
LAST_RESORT = Settings(resync=0.0, confirm_after=0.1, last_resort=1e9, damping=0.0)
KINDS = ("free", "dark", "held", "lost")
"""Sources: whose truth is any, who never answers, who fails after its answer, who has lost all that it knew."""
NAMERS: list[Namer] = [SourceNamer(Path(("#", kind)), 1) for kind in KINDS]
_ONLY_MISSING = frozenset(("missing",))
OPTIONS = (Options(), Options(), Options(_ONLY_MISSING), Options(max_depth=3))
_LEVELS = ("svc", "host", "srv")
LITERAL = ("inet", "127.0.0.1", "1")
_UTILITY = (("nil",), ("fail",), ("none",), LITERAL, ("io.buoyant.http.anyHostPfx", "svc"))
_POLICIES: tuple[list[dict[str, object]], ...] = (
    [],
    [],
    [{"match": "/svc", "timeout": {"request": "5s"}}],
    [{"match": "/svc/a", "failover": True}],
    [{"match": "/svc", "failover": True}, {"match": "/#/free", "limits": {"connections": 7}}],
    [{"match": "/svc/{name}", "mirror": [{"to": "/host/{name}", "percent": 10}]}],
)


@dataclass(frozen=True, slots=True)
class World:
    free: Platform
    observatory: Observatory

    async def shuffle(self, rng: random.Random) -> None:
        for word in WORDS + OTHERS:
            self.free.state(Path((word,)), truth(rng))
        await settle()


def truth(rng: random.Random) -> Addr:
    kind = rng.random()
    if kind < 0.2:
        return Neg()
    if kind < 0.3:
        return Bound()
    if kind < 0.4:
        return bound([Endpoint("10.0.0.1", 80, health=Health.UNHEALTHY)])
    return bound(Endpoint(f"10.0.0.{rng.randint(1, 4)}", 80) for _ in range(rng.randint(1, 3)))


@asynccontextmanager
async def world(rng: random.Random) -> AsyncIterator[World]:
    """Every name of every source is observed, and its state is as the kind of source says."""
    platforms = {kind: Platform() for kind in KINDS}
    plain = Settings(resync=0.0, confirm_after=0.0, damping=0.0)
    entries = [
        SourceEntry(Path(("#", kind)), "memory", 1, each, LAST_RESORT if kind == "lost" else plain)
        for kind, each in platforms.items()
    ]
    entries.append(SourceEntry(INET, "inet", 2, InetSource(Resolver().resolve), plain, fewest=1))
    platforms["dark"].fail(Unavailable("it is dark"))
    async with Observatory(entries, lambda _path, _state: None) as observatory:
        for kind in KINDS:
            for number, word in enumerate(WORDS + OTHERS):
                platforms[kind].truth[Path((word,))] = bound([Endpoint(f"10.0.1.{number}", 80)])
                observatory.want(Path(("#", kind, word)))
        observatory.want(Path(("$", *LITERAL)))
        await asyncio.sleep(3)
        platforms["held"].fail(Unavailable("it went away"))
        for word in WORDS + OTHERS:
            platforms["lost"].state(Path((word,)), Neg())
        await asyncio.sleep(1)
        here = World(platforms["free"], observatory)
        await here.shuffle(rng)
        yield here


def _path(rng: random.Random, further: tuple[str, ...]) -> Path:
    kind = rng.random()
    if kind < 0.08:
        return Path(("$", *rng.choice(_UTILITY)))
    # Few circles: each takes the walk its time.
    words = further if rng.random() < 0.97 else _LEVELS
    if words and kind < 0.5:
        return Path((rng.choice(words), *rng.choice(((), (), (rng.choice(WORDS),)))))
    residual = rng.choice(((), (), (), ("x",)))
    return Path(("#", rng.choice(("free", "free", *KINDS)), *rng.choice(((), (rng.choice(WORDS), *residual)))))


def _tree(rng: random.Random, further: tuple[str, ...], nesting: int = 2) -> NameTree[Path]:
    kind = rng.random()
    if nesting == 0 or kind < 0.6:
        return Leaf(_path(rng, further)) if rng.random() < 0.9 else rng.choice((tree.Neg(), tree.Fail(), tree.Empty()))
    branches = [_tree(rng, further, nesting - 1) for _ in range(rng.choice((2, 2, 3)))]
    if kind < 0.8:
        return Alt(tuple(branches))
    return Union(tuple(Weighted(rng.choice((0.0, 0.5, 1.0, 9.0)), each) for each in branches))


def _dentry(rng: random.Random) -> Dentry:
    level = rng.choice((0, 0, 0, 1, 2))
    first: Element = WILDCARD if rng.random() < 0.05 else _LEVELS[level]
    more: tuple[Element, ...] = rng.choice(((), (), (rng.choice(WORDS),), (WILDCARD,)))
    return Dentry((first, *more), _tree(rng, _LEVELS[level + 1 :]))


def table(rng: random.Random) -> Dtab:
    return Dtab(_dentry(rng) for _ in range(rng.randint(1, 7)))


def changed(rng: random.Random, before: Dtab) -> Dtab:
    """As people change tables: an entry more, one less, one in another way, another order; or all of it."""
    dentries, kind = list(before), rng.random()
    at = rng.randrange(len(dentries))
    if kind < 0.3:
        dentries.insert(rng.randint(0, len(dentries)), _dentry(rng))
    elif kind < 0.45:
        del dentries[at]
    elif kind < 0.7:
        dentries[at] = Dentry(dentries[at].prefix, _tree(rng, _LEVELS[1:]))
    elif kind < 0.85:
        rng.shuffle(dentries)
    else:
        return table(rng)
    return Dtab(dentries)


def rules(rng: random.Random) -> tuple[Rules, Rules]:
    before, entries = table(rng), rng.choice(_POLICIES)
    others = entries if rng.random() < 0.7 else rng.choice(_POLICIES)
    return Rules(before, _policies(entries)), Rules(changed(rng, before), _policies(others))


def _policies(entries: list[dict[str, object]]) -> Policies:
    return Policies([PolicyEntry.model_validate(each).entry for each in entries])


@dataclass(frozen=True, slots=True)
class Made:
    """A name as a binder has it, and what Envoy is told: the shares by bound name, none where nothing serves."""

    name: Name
    shares: dict[str, Fraction]


def binder_of(here: World, following: Rules, options: Options) -> tuple[Ads, Binder]:
    ads = Ads(Store(), report=lambda _event: None)
    clock = asyncio.get_running_loop().time
    return ads, Binder(
        dtab=following.dtab,
        namers=NAMERS,
        options=options,
        limits=Limits(),
        observatory=here.observatory,
        publisher=Publisher(ads, here.observatory.state, clock, 10.0, following.policies),
        policies=following.policies,
        clock=clock,
    )


@contextmanager
def binding(here: World, following: Rules, options: Options) -> Iterator[dict[Path, Made]]:
    """The names as a real binder binds them, by what is known now."""
    ads, binder = binder_of(here, following, options)
    found = {}
    for path in NAMES:
        name = binder.ask(("http", path[-1]), path)
        assert name is not None
        found[path] = Made(name, told(ads, path[-1]))
    yield found
    for bound_name in found.values():
        binder.drop(bound_name.name)


def told(ads: Ads, key: str) -> dict[str, Fraction]:
    stored = ads.store.get(SCOPE, scope_resource("http", key))
    if stored is None:
        return {}
    route = decoded(stored, ScopedRouteConfiguration()).route_configuration.virtual_hosts[0].routes[-1]
    split = {each.name: each.weight.value for each in route.route.weighted_clusters.clusters}
    split = split or ({route.route.cluster: 1} if route.route.cluster else {})
    total = sum(split.values())
    shares: dict[str, Fraction] = {}
    for cluster, weight in split.items():
        id = "" if cluster == EMPTY_CLUSTER_NAME else cluster.partition("+")[0]
        shares[id] = shares.get(id, Fraction(0)) + Fraction(weight, total)
    return shares


def known(here: World) -> dict[Path, State]:
    return {path: state for path, state, _ in here.observatory.known() if isinstance(state, Known)}
