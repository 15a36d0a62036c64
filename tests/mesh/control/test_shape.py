"""Names that share their fate come out as if each had been looked at by itself."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from discovery.address import Bound, Endpoint, Health, Known, Neg, State, bound
from discovery.path import Path
from mesh.control.effect import Use, View
from mesh.control.foresight import Foresight
from mesh.control.shape import Shapes
from mesh.naming.dtab import parse_dtab
from mesh.naming.namers import LongestNamer, RewriteNamer, SourceNamer
from tests.mesh.control import changing

# Some that are part of other words, that Envoy or a path would not take as they are, or that look like our own marks.
ODD = ["u", "v", "s", "sv", "hos", "é", "a b", "%%", "%%0%%", "0", "*", "\udcff", "#x", "$x", "/", "x\\x20"]
TABLES = 120


def world(rng: random.Random) -> dict[Path, State]:
    live = [Known(bound([Endpoint(f"10.0.0.{n}", 80)]), 0, 0) for n in range(1, 4)]
    sick = Known(bound([Endpoint("10.0.0.9", 80, health=Health.UNHEALTHY)]), 0, 0)
    states: list[State] = [*live, *live, sick, Known(Bound(), 0, 0), Known(Neg(), 0, 0)]
    states.append(replace(live[0], held="away", lost=Neg()))
    kinds = {kind: [*changing.WORDS, *ODD] for kind in changing.KINDS}
    return {Path(("#", kind, word)): rng.choice(states) for kind, words in kinds.items() for word in words}


def test_names_of_one_shape_come_out_as_they_would_one_by_one() -> None:
    rng, shared, found = random.Random(11), 0, 0
    for number in range(TABLES):
        before, after = changing.rules(rng)
        states = world(rng)
        namers = [*changing.NAMERS]
        if number % 3 == 0:
            namers[0] = LongestNamer(namers[0].prefix)
        view, options = View(namers), rng.choice(changing.OPTIONS)

        def state(path: Path, states: dict[Path, State] = states) -> State:
            return states.get(path, Known(Neg(), 0, 0))

        uses = [Use("http", Path(("svc", *rest)), {view: 1.0}) for rest in _rests(rng)]
        together = Foresight(before, after, options, state)
        for use in uses:
            alone = Foresight(before, after, options, state).of(use)
            assert together.of(use) == alone, f"{use.path}: {before.dtab.show()} -> {after.dtab.show()}"
            found += len(alone)
        shared += sum(map(len, together._precedents._kept.values())) < len(uses) / 2
    assert found > TABLES
    assert shared > TABLES / 2


def _rests(rng: random.Random) -> list[tuple[str, ...]]:
    return [(word,) for word in ODD] + [tuple(rng.choices(ODD, k=2)) for _ in range(8)]


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
    tables = [parse_dtab("/svc => /#/one; /svc/known => /x"), parse_dtab("/* => /y | 2 * /z & /known")]
    shape = Shapes(tables, [SourceNamer(Path(("#", "one")), 1)]).of(Path.parse(path))
    assert (shape and shape.template) == template


def test_a_namer_that_reads_names_lets_nothing_be_said_by_shape() -> None:
    namer = RewriteNamer(Path(("#", "r")), "/{name}", "/svc/{name}")
    assert Shapes([parse_dtab("/svc => /#/r")], [namer]).of(Path(("svc", "users"))) is None
