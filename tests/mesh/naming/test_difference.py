"""A name that the difference does not touch is bound alike by both tables; this is what makes a preview cheap."""

from __future__ import annotations

import random

import pytest

from discovery.address import Known, Neg, State
from discovery.path import Path
from mesh.naming.bind import STEPS, Binding, Broken, Options, bind
from mesh.naming.difference import Difference
from mesh.naming.dtab import Dentry, Dtab, parse_dtab
from mesh.naming.namers import SourceNamer
from mesh.naming.tree import Leaf
from tests.mesh.naming import random_tables

CASES = 3_000
NAMERS = [SourceNamer(prefix, max(1, segments)) for prefix, segments in random_tables.NAMERS]


def nobody(_path: Path) -> State:
    return Known(Neg(), 0, 0)


def result(binding: Binding) -> object:
    """Where it ended; of what can't be bound, not why: the reason may name another table's line."""
    tree = "broken" if isinstance(binding.tree, Broken) else binding.tree
    return tree, binding.grade, binding.wanted


def test_what_is_not_touched_is_bound_alike() -> None:
    rng = random.Random(7)
    untouched = 0
    for seed in range(CASES):
        before, state, failover = random_tables.table(rng), random_tables.states(seed), rng.random() < 0.3
        dentries = list(before)
        for _ in range(rng.randint(1, 2)):
            more = random_tables.table(rng).dentries[:1]
            dentries[(at := rng.randint(0, len(dentries))) : at] = more
            if dentries and rng.random() < 0.5:
                del dentries[rng.randrange(len(dentries))]
        after = Dtab(dentries)
        path, options = random_tables.path(rng), Options(max_depth=rng.choice((4, 10)))
        binding = bind(before, path, NAMERS, state, options, failover=failover)
        if not Difference(before, after).touches(binding):
            untouched += 1
            other = bind(after, path, NAMERS, state, options, failover=failover)
            assert result(other) == result(binding), f"{path}: {before.show()} -> {after.show()}"
    assert CASES / 10 < untouched < CASES * 9 / 10


@pytest.mark.parametrize(
    ("before", "after", "touched"),
    [
        ("/svc => /a; /other => /b", "/svc => /a; /other => /c", False),
        ("/svc => /a", "/svc => /a; /svc/users => /b", False),
        ("/svc => /a", "/svc/x => /b; /svc => /a", True),
        ("/svc => /a; /svc/x => /b", "/svc/x => /b; /svc => /a", True),
        ("/svc => /a", "/svc => /a; /a => /b", True),
        ("/svc => /a", "/svc => /a; /* => /b", True),
        ("# said\n/svc => /a", "/svc => /a # told", False),
    ],
)
def test_a_change_touches_the_names_that_look_up_what_it_matches(before: str, after: str, touched: bool) -> None:
    one, other = parse_dtab(before), parse_dtab(after)
    binding = bind(one, Path(("svc", "x")), NAMERS, nobody)
    assert Difference(one, other).touches(binding) == touched


def test_a_walk_that_has_few_steps_left_counts_as_touched_since_other_dentries_cost_steps() -> None:
    """The added dentries match nothing that is looked up, but trying them is part of what a walk may cost."""
    many = ";".join("/" + "/".join("*" if n >> bit & 1 else "a" for bit in range(10)) + "/z => /b" for n in range(1024))
    before = parse_dtab("/a => /x/a/a/a/a/a/a/a/a/a/a | " + " | ".join(["/a1/a/a/a/a/a/a/a/a/a/b"] * 30))
    after = before + parse_dtab(many)
    path = Path("a")
    one, other = (bind(each, path, NAMERS, nobody) for each in (before, after))
    assert one.spent < STEPS
    assert result(one) != result(other)
    assert Difference(before, after).touches(one)


def test_tables_too_large_to_compare_in_full_are_compared_by_their_ends() -> None:
    tables = [
        Dtab(Dentry((f"{label}{number}",), Leaf(Path(("b",)))) for number in range(1_500)) for label in ("x", "y")
    ]
    shared = parse_dtab("/svc => /a")
    before, after = (Dtab((*shared, *each, *shared)) for each in tables)
    for name, touched in (("svc", False), ("x7", True), ("y7", True)):
        assert Difference(before, after).touches(bind(before, Path((name,)), NAMERS, nobody)) == touched
