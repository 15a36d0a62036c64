"""Names that share their fate come out as if each had been looked at by itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from discovery.address import Bound, Endpoint, Health, Known, Neg, State, bound
from discovery.path import Path
from mesh.control.effect import Rules, Use, View
from mesh.control.foresight import Foresight
from mesh.control.shape import Shapes
from mesh.naming.difference import merged
from mesh.naming.dtab import Dentry, Dtab, parse_dtab, parse_tree
from mesh.naming.namers import LongestNamer, RewriteNamer, SourceNamer
from mesh.naming.prefix import WILDCARD, Element
from mesh.naming.tree import Alt, Fail, Leaf, NameTree
from tests.mesh.control import changing

# Some that are part of other words, that Envoy or a path would not take as they are, or that look like our own marks.
ODD = ["u", "v", "s", "sv", "hos", "é", "a b", "%%", "%%0%%", "0", "*", "\udcff", "#x", "$x", "/", "x\\x20"]
SPOKEN_OF = [*(f"w{number}" for number in range(16)), "é", "a b", "#x", "/"]
TABLES = 120


def world(rng: random.Random) -> dict[Path, State]:
    live = [Known(bound([Endpoint(f"10.0.0.{n}", 80)]), 0, 0) for n in range(1, 4)]
    sick = Known(bound([Endpoint("10.0.0.9", 80, health=Health.UNHEALTHY)]), 0, 0)
    states: list[State] = [*live, *live, sick, Known(Bound(), 0, 0), Known(Neg(), 0, 0)]
    states.append(replace(live[0], held="away", lost=Neg()))
    kinds = {kind: [*changing.WORDS, *ODD, *SPOKEN_OF, *(f"{word}x" for word in SPOKEN_OF)] for kind in changing.KINDS}
    return {Path(("#", kind, word)): rng.choice(states) for kind, words in kinds.items() for word in words}


def test_names_of_one_shape_come_out_as_they_would_one_by_one() -> None:
    rng, shared, found = random.Random(11), 0, 0
    for number in range(TABLES):
        uses = [Path(("svc", *rest)) for rest in _rests(rng, ODD)]
        kept, effects = _compared(rng, *changing.rules(rng), uses, longest=number % 3 == 0)
        found += effects
        shared += kept < len(uses) / 2
    assert found > TABLES
    assert shared > TABLES / 2


def test_names_with_dentries_of_their_own_come_out_as_they_would_one_by_one() -> None:
    """Of some words the tables speak in one way, of some in another, in few places or many, before or after."""
    rng, found = random.Random(13), 0
    shared = Counter[bool]()
    for number in range(TABLES):
        before, after = changing.rules(rng)
        prefixes, trees = rng.choices(PREFIXES, k=2), rng.choices(TREES, k=2)
        of_words = [
            [Dentry(rng.choice(prefixes)(word), rng.choice(trees)(word)) for _ in range(rng.choice((1, 1, 2)))]
            for word in SPOKEN_OF
        ]
        places = [rng.random() for _ in range(rng.choice((1, 2)))]
        before, after = (
            replace(each, dtab=_with(rng, each.dtab, of_words, places, rng.choice((0.0, 0.3))))
            for each in (before, after)
        )
        paths = [Path((rng.choice(("svc", "svc", "host")), *rest)) for rest in _rests(rng, [*SPOKEN_OF, *ODD[:4]])]
        kept, effects = _compared(rng, before, after, paths, longest=number % 3 == 0)
        found += effects
        shared[kept < len(paths) / 2] += 1
    assert found > TABLES
    assert shared[True] > TABLES / 3, shared


PREFIXES: Sequence[Callable[[str], tuple[Element, ...]]] = [
    lambda word: ("svc", word),
    lambda word: ("svc", word),
    lambda word: ("host", word),
    lambda word: (WILDCARD, word),
    lambda word: ("svc", WILDCARD, word),
    lambda _word: ("srv",),
]
TREES: Sequence[Callable[[str], NameTree[Path]]] = [
    lambda word: Leaf(Path(("host", word))),
    lambda word: Leaf(Path(("#", "free", word))),
    lambda word: Leaf(Path(("#", "free", f"{word}x"))),
    lambda word: Alt((Leaf(Path(("#", "lost", word))), Fail())),
    lambda word: Leaf(Path(("svc", SPOKEN_OF[SPOKEN_OF.index(word) ^ 1]))),
    lambda _word: parse_tree("9 * /#/free/a & 1 * /#/free/b"),
]
"""What a table may say of a word."""


def _with(
    rng: random.Random, dtab: Dtab, of_words: Sequence[Sequence[Dentry]], places: Sequence[float], left_out: float
) -> Dtab:
    """`places`: where those that speak of a word stand among the others, 0 to 1. `left_out`: this share of them."""
    keyed = [(at / len(dtab), dentry) for at, dentry in enumerate(dtab)]
    for some in of_words:
        place = rng.choice(places)
        keyed += [(place, dentry) for dentry in some if rng.random() >= left_out]
    return Dtab(dentry for _, dentry in sorted(keyed, key=lambda each: each[0]))


def _compared(
    rng: random.Random, before: Rules, after: Rules, paths: Sequence[Path], *, longest: bool
) -> tuple[int, int]:
    """How much was kept for others, and how many effects there were."""
    states = world(rng)
    namers = [*changing.NAMERS]
    if longest:
        namers[0] = LongestNamer(namers[0].prefix)
    view, options = View(namers), rng.choice(changing.OPTIONS)

    def state(path: Path) -> State:
        return states.get(path, Known(Neg(), 0, 0))

    together, found = Foresight(before, after, options, state), 0
    for use in (Use("http", path, {view: 1.0}) for path in paths):
        effects = Foresight(before, after, options, state).of(use)
        assert together.of(use) == effects, f"{use.path}: {before.dtab.show()} -> {after.dtab.show()}"
        found += len(effects)
    return sum(map(len, together._precedents._kept.values())), found


def _rests(rng: random.Random, words: Sequence[str]) -> list[tuple[str, ...]]:
    return [(word,) for word in words] + [tuple(rng.choices(words, k=2)) for _ in range(8)]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/svc/users", ("svc", 0)),
        ("/svc/users/users/cart", ("svc", 0, 0, 1)),
        ("/svc/known", None),
        ("/svc", None),
    ],
)
def test_a_segment_of_which_no_table_speaks_is_like_any_other(path: str, template: tuple[object, ...] | None) -> None:
    tables = parse_dtab("/svc => /#/one; /svc/known => /x").dentries, parse_dtab("/* => /y | 2 * /z & /known").dentries
    shape = Shapes(merged(*tables), [SourceNamer(Path(("#", "one")), 1)]).of(Path.parse(path))
    assert (shape and shape.template) == template


def test_a_namer_that_reads_names_lets_nothing_be_said_by_shape() -> None:
    namer = RewriteNamer(Path(("#", "r")), "/{name}", "/svc/{name}")
    assert Shapes(merged((), parse_dtab("/svc => /#/r").dentries), [namer]).of(Path(("svc", "users"))) is None
