"""Binding against the naive evaluator, at its limits, and where it differs from Linkerd 1 on purpose."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from discovery.address import Bound, Endpoint, Failed, Health, Known, Neg, Pending, State, bound
from discovery.path import Path
from mesh.agent.failover import won
from mesh.naming import bind as binding
from mesh.naming import tree
from mesh.naming.bind import LINKERD, UNIONS, Binding, Broken, Options, Waiting, bind, bind_tree
from mesh.naming.dtab import MAX_NESTING, parse_dtab, parse_tree
from mesh.naming.namers import SourceNamer
from mesh.naming.trace import Grade
from mesh.naming.tree import BoundName, Leaf
from tests.mesh.naming import naive, random_tables

LIVE = Known(bound([Endpoint("10.0.0.1", 80)]), 0, 0)
DEAD = Known(Bound(), 0, 0)
MISSING = Known(Neg(), 0, 0)
SOURCE = SourceNamer(Path(("s",)), 1)
TIELINE = Options()
MISSING_ONLY = Options(alternate_on=frozenset({"missing"}))


def state_of(known: dict[str, State]) -> binding.AskState:
    states = {Path.parse(path): state for path, state in known.items()}
    return lambda path: states.get(path, MISSING)


def bound_to(table: str, path: str, known: dict[str, State], options: Options = TIELINE) -> Binding:
    return bind(parse_dtab(table), Path.parse(path), [SOURCE], state_of(known), options)


def tree_bound(text: str, known: dict[str, State], options: Options = TIELINE) -> Binding:
    return bind_tree(parse_dtab(""), parse_tree(text), [SOURCE], state_of(known), options)


def leaf(path: str) -> Leaf[BoundName]:
    return Leaf(BoundName(Path.parse(path)))


def shape(bound_tree: Any) -> Any:
    match bound_tree:
        case Leaf(BoundName(name, residual)):
            return ("leaf", name, residual)
        case tree.Union(branches):
            return ("union", tuple((branch.weight, shape(branch.tree)) for branch in branches))
    return {tree.Neg(): "~", tree.Fail(): "!", tree.Empty(): "$"}[bound_tree]


def outcome(found: Binding) -> Any:
    match found.tree:
        case Broken(kind=kind):
            return ("broken", kind)
        case Waiting(paths=paths):
            return ("pending", paths)
    return shape(found.tree)


def naively(evaluator: naive.Naive, path: Path) -> Any:
    try:
        return evaluator.bind(Leaf(path))
    except naive.Pending as waiting:
        return ("pending", frozenset(waiting.paths))
    except naive.Broken as broken:
        return ("broken", broken.kind)


CASES = 100_000
SHARES = 4


@pytest.mark.parametrize("share", range(SHARES))
def test_binding_agrees_with_the_naive_evaluator(share: int) -> None:
    too_much = 0
    kinds: dict[str, int] = {}
    for seed in range(share * CASES // SHARES, (share + 1) * CASES // SHARES):
        rng = random.Random(seed)
        table, path, states = random_tables.table(rng), random_tables.path(rng), random_tables.states(seed)
        style, max_depth = rng.choice((TIELINE, LINKERD)), rng.choice((2, 3, 3, 3, 3, 3, 4, 8))
        options = Options(style.alternate_on, style.unanswered, max_depth)
        evaluator = naive.Naive(
            table,
            random_tables.NAMERS,
            states,
            max_depth=options.max_depth,
            pass_empty="empty" in options.alternate_on,
            unanswered_is_missing=options.unanswered == "missing",
        )
        namers = [SourceNamer(prefix, segments) for prefix, segments in random_tables.NAMERS]
        try:
            expected = naively(evaluator, path)
        except naive.TooMuch:
            too_much += 1
            continue
        found = bind(table, path, namers, states, options)
        assert outcome(found) == expected, f"seed {seed}: {path} in {table}"
        assert found.wanted == evaluator.asked, f"seed {seed}: {path} in {table}"
        kind = expected if isinstance(expected, str) else expected[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    assert too_much < CASES // SHARES // 20
    assert min(kinds.get(kind, 0) for kind in ("~", "!", "$", "leaf", "union", "pending", "broken")) > 50, kinds


def test_walking_every_alternative_does_not_change_the_outcome() -> None:
    for seed in range(2_000):
        rng = random.Random(seed)
        table, path, states = random_tables.table(rng), random_tables.path(rng), random_tables.states(seed)
        options = rng.choice((Options(max_depth=rng.choice((4, 4, 4, 100))), LINKERD))
        namers = [SourceNamer(prefix, segments) for prefix, segments in random_tables.NAMERS]
        plain = bind(table, path, namers, states, options)
        whole = bind(table, path, namers, states, options, exhaustive=True)
        assert (plain.tree, plain.grade) == (whole.tree, whole.grade), f"seed {seed}: {path} in {table}"
        assert plain.wanted <= whole.wanted, f"seed {seed}: {path} in {table}"


def grown(rng: random.Random, depth: int) -> str:
    """A tree over a few names, some of which live."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice([f"/s/{number}" for number in range(8)] + ["~", "!", "$"])
    branches = [f"{grown(rng, depth - 1)}" for _ in range(rng.randint(2, 3))]
    return f"({rng.choice((' | ', ' & ')).join(branches)})"


def test_what_stands_by_does_not_change_who_wins() -> None:
    known = {
        f"/s/{number}": (LIVE, LIVE, LIVE, LIVE, DEAD, MISSING, Pending(), Failed("x"))[number] for number in range(8)
    }
    kept = 0
    for seed in range(3_000):
        table = f"/a => {grown(random.Random(seed), 3)}"
        plain, found, whole = (
            bind(parse_dtab(table), Path(("a",)), [SOURCE], state_of(known), failover=failover, exhaustive=exhaustive)
            for failover, exhaustive in ((False, False), (True, False), (True, True))
        )
        assert (plain.grade, found.grade, found.tree) == (found.grade, whole.grade, whole.tree), table
        if not isinstance(found.tree, Waiting | Broken):
            assert won(found.tree) == plain.tree, table
            kept += found.tree != plain.tree
    assert kept > 500


@pytest.mark.parametrize(
    ("table", "outcome"),
    [
        ("/a => /s/one | /s/two", "/s/one | /s/two"),
        ("/a => /s/one | /s/gone | /s/empty | /s/two", "/s/one | /s/two"),
        ("/a => /s/empty | /s/one | /s/two", "/s/one | /s/two"),
        ("/a => /s/one | ! | /s/two", "/s/one"),
        ("/a => /s/one | $ | /s/two", "/s/one"),
        ("/a => /s/two ; /a => /s/one", "/s/one | /s/two"),
        ("/a => (/s/one & /s/three) | /s/two", "/s/one & /s/three | /s/two"),
        ("/a => 3 * /s/one & 1 * (/s/three | /s/two)", "3 * /s/one & 1 * (/s/three | /s/two)"),
        ("/a => /s/empty | /s/gone", "/s/empty"),
    ],
)
def test_alternatives_with_endpoints_stand_by(table: str, outcome: str) -> None:
    known = {f"/s/{name}": LIVE for name in ("one", "two", "three")} | {"/s/empty": DEAD}
    found = bind(parse_dtab(table), Path(("a",)), [SOURCE], state_of(known), failover=True)
    assert paths_of(found.tree) == parse_tree(outcome)


def paths_of(bound_tree: Any) -> Any:
    match bound_tree:
        case Leaf(BoundName(name, _)):
            return Leaf(name)
        case tree.Alt(trees):
            return tree.Alt(tuple(map(paths_of, trees)))
        case tree.Union(branches):
            return tree.Union(tuple(tree.Weighted(each.weight, paths_of(each.tree)) for each in branches))
    return bound_tree


def test_fed_what_it_wants_binding_comes_to_an_end() -> None:
    for seed in range(2_000):
        rng = random.Random(seed)
        table, path, states = random_tables.table(rng), random_tables.path(rng), random_tables.states(seed)
        namers = [SourceNamer(prefix, segments) for prefix, segments in random_tables.NAMERS]
        fed: dict[Path, State] = {}
        for _ in range(300):
            found = bind(table, path, namers, lambda path, fed=fed: fed.get(path, Pending()))
            fresh = found.wanted - fed.keys()
            if not fresh:
                break
            fed |= {want: MISSING if isinstance(states(want), Pending) else states(want) for want in fresh}
        assert not fresh, f"seed {seed}: {path} in {table}"
        assert found.grade is not Grade.WAITING, f"seed {seed}: {path} in {table}"


@pytest.mark.parametrize(
    "table",
    [
        "/a => /a",
        "/a => /a | /a & /a",
        "/a => /a & /a",
        "/a => /a/x & /a/y",
        "/a => (/a/x & /a/y) | /a",
        "/a => ~ | /a/x & /a/y | /a/z & /a",
        "/a => /a" + "/x" * 50_000,
        "/ => /a",
        "/ => /a & /b | /c",
        "/* => /a/a/a & /b; /*/*/* => /a & /b; /a/*/a => /b/b/b | /a",
        "/a => " + " & ".join(["/a"] * 20_000),
        "/a => " + "(" * MAX_NESTING + "/a & /a" + ")" * MAX_NESTING,
    ],
    ids=lambda table: table[:40],
)
@pytest.mark.parametrize("exhaustive", [False, True])
def test_a_circle_is_an_error_after_a_bounded_walk(table: str, *, exhaustive: bool) -> None:
    steps = 0

    def state(_path: Path) -> State:
        nonlocal steps
        steps += 1
        return MISSING

    found = bind(parse_dtab(table), Path(("a",)), [SOURCE], state, exhaustive=exhaustive)
    assert isinstance(found.tree, Broken)
    assert found.tree.kind == "max_depth"
    assert count(found.trace) <= 3 * binding.STEPS
    assert steps <= binding.STEPS


def count(step: Any) -> int:
    pending, total = [step], 0
    while pending:
        total += 1
        pending += pending.pop().steps
    return total


def test_alternatives_after_the_winner_can_not_break_it() -> None:
    table = "/a => /s/live | /b & /b; /b => /b/x & /b/y; /s => ~"
    for exhaustive in (False, True):
        found = bind(
            parse_dtab(table), Path(("a",)), [SOURCE], state_of({"/s/live": LIVE}), Options(), exhaustive=exhaustive
        )
        assert found.tree == leaf("/s/live")


def test_trees_nested_without_end_are_an_error_not_a_crash() -> None:
    nested = "/s/x & (" * (MAX_NESTING - 1) + "/a" + ")" * (MAX_NESTING - 1)
    found = bound_to(f"/a => {nested}", "/a", {"/s/x": LIVE})
    assert isinstance(found.tree, Broken)
    assert found.tree.kind == "max_depth"


def test_the_deepest_union_can_be_compared_hashed_and_shown() -> None:
    chain = "; ".join(f"/{n} => /s/x & /{n + 1}" for n in range(UNIONS))
    found, again = (bound_to(f"{chain}; /{UNIONS} => /s/x", "/0", {"/s/x": LIVE}) for _ in range(2))
    assert isinstance(found.tree, tree.Union)
    assert found.tree == again.tree
    assert hash(found.tree) == hash(again.tree)
    assert "BoundName" in repr(found.tree)


def test_a_union_nested_more_deeply_is_an_error() -> None:
    chain = "; ".join(f"/{n} => /s/x & /{n + 1}" for n in range(UNIONS + 1))
    assert bound_to(f"{chain}; /{UNIONS + 1} => /s/x", "/0", {"/s/x": LIVE}).grade is Grade.BROKEN


def test_long_paths_and_prefixes_that_match_in_many_ways_count_for_more_steps() -> None:
    growing = bound_to("/a => /a" + "/x" * 50_000, "/a", {})
    ways = ["/" + "/".join("*" if n >> bit & 1 else "a" for bit in range(10)) for n in range(1024)]
    wild = bound_to("; ".join(f"{way}/never => ~" for way in ways) + "; / => /a & /b", "/a" * 10, {})
    for found, most in ((growing, 5), (wild, 50)):
        assert found.grade is Grade.BROKEN
        assert count(found.trace) <= most


@pytest.mark.parametrize(("steps", "fits"), [(99, True), (100, False)])
def test_99_rewrites_and_the_lookup_of_a_name_are_the_most(steps: int, *, fits: bool) -> None:
    chain = "; ".join(f"/{n} => /{n + 1}" for n in range(steps))
    found = bound_to(f"{chain}; /{steps} => ~", "/0", {})
    assert (found.grade is Grade.NEG) is fits
    named = bound_to(
        f"{'; '.join(f'/{n} => /{n + 1}' for n in range(steps - 1))}; /{steps - 1} => /s/x", "/0", {"/s/x": LIVE}
    )
    assert (named.grade is Grade.LIVE) is fits


def test_an_alternative_known_to_have_no_endpoint_is_passed_over() -> None:
    known = {"/s/dead": DEAD, "/s/live": LIVE}
    assert tree_bound("/s/dead | /s/live", known).tree == leaf("/s/live")
    assert tree_bound("/s/dead | /s/live", known, MISSING_ONLY).tree == leaf("/s/dead")
    assert tree_bound("/s/dead | /s/live", known, LINKERD).tree == leaf("/s/dead")


@pytest.mark.parametrize(
    "after", ["~", "/s/none", "/s/dead2", "!", "$", "/$/nil", "/$/nonsense", "/s/dead2 & $", "! | /s/live"]
)
def test_the_first_empty_alternative_is_the_answer_when_none_after_it_has_an_endpoint(after: str) -> None:
    known = {"/s/dead": DEAD, "/s/dead2": DEAD, "/s/live": LIVE}
    found = tree_bound(f"~ | /s/dead | {after}", known)
    assert (found.tree, found.grade) == (leaf("/s/dead"), Grade.DEAD)


def test_an_empty_alternative_waits_for_a_later_one_that_has_not_answered() -> None:
    found = tree_bound("/s/dead | /s/slow", {"/s/dead": DEAD, "/s/slow": Pending()})
    assert isinstance(found.tree, Waiting)
    assert found.tree.paths == {Path.parse("/s/slow")}


def test_a_union_of_empty_names_is_passed_over_but_a_written_empty_wins() -> None:
    known = {"/s/dead": DEAD, "/s/live": LIVE}
    assert tree_bound("(/s/dead & 9 * $) | /s/live", known).tree == leaf("/s/live")
    assert tree_bound("($ & $) | /s/live", known).grade is Grade.EMPTY
    assert tree_bound("$ | /s/live", known).tree == tree.Empty()


def test_a_union_gives_an_empty_branchs_share_to_those_that_live_unless_it_is_to_do_as_linkerd_does() -> None:
    known = {"/s/dead": DEAD, "/s/live": LIVE}
    assert tree_bound("(/s/dead & /s/live) | /s/other", known).tree == leaf("/s/live")
    assert isinstance(tree_bound("(/s/dead & /s/live & $) | /s/other", known).tree, tree.Union)
    assert isinstance(tree_bound("/s/dead & /s/live", known, LINKERD).tree, tree.Union)
    assert isinstance(tree_bound("/s/dead & /s/dead", known).tree, tree.Union)


@pytest.mark.parametrize(
    ("endpoints", "grade"),
    [
        ([Endpoint("10.0.0.1", 80)], Grade.LIVE),
        ([Endpoint("10.0.0.1", 80, health=Health.HEALTHY)], Grade.LIVE),
        ([Endpoint("10.0.0.1", 80, health=Health.UNHEALTHY)], Grade.DEAD),
        ([Endpoint("10.0.0.1", 80, health=Health.DRAINING)], Grade.DEAD),
        ([Endpoint("10.0.0.1", 80, weight=0)], Grade.DEAD),
        ([Endpoint("10.0.0.1", 80, weight=0), Endpoint("10.0.0.2", 80)], Grade.LIVE),
        ([], Grade.DEAD),
    ],
)
def test_an_endpoint_that_may_get_no_traffic_is_none(endpoints: list[Endpoint], grade: Grade) -> None:
    assert tree_bound("/s/x", {"/s/x": Known(bound(endpoints), 0, 0)}).grade is grade


def test_a_source_that_never_answered_counts_as_missing_with_its_reason_in_the_trace() -> None:
    known = {"/s/dark": Failed("connection refused"), "/s/live": LIVE}
    found = tree_bound("/s/dark | /s/live", known)
    assert found.tree == leaf("/s/live")
    assert "connection refused" in found.trace.steps[0].reason


def test_linkerd_lets_an_unanswered_source_break_the_name() -> None:
    found = tree_bound("/s/dark | /s/live", {"/s/dark": Failed("refused"), "/s/live": LIVE}, LINKERD)
    assert isinstance(found.tree, Broken)
    assert (found.tree.kind, "refused" in found.tree.reason) == ("namer_failed", True)


def test_a_held_answer_counts_as_known() -> None:
    held = Known(LIVE.addr, 0, 0, held="the platform can't be asked")
    assert tree_bound("/s/held | /s/live", {"/s/held": held, "/s/live": LIVE}).tree == leaf("/s/held")


def test_a_union_leaves_out_what_has_not_answered_while_another_branch_has_an_endpoint() -> None:
    known = {"/s/slow": Pending(), "/s/live": LIVE}
    assert tree_bound("/s/slow & /s/live", known).tree == leaf("/s/live")


@pytest.mark.parametrize("other", ["~", "!", "$", "/s/none", "/s/dead", "/$/nonsense"])
def test_a_union_without_an_endpoint_waits_for_the_branch_that_has_not_answered(other: str) -> None:
    known = {"/s/slow": Pending(), "/s/dead": DEAD}
    assert isinstance(tree_bound(f"{other} & /s/slow", known).tree, Waiting)


@pytest.mark.parametrize(("other", "shown"), [("~", "~"), ("!", "~"), ("$", "$"), ("/$/nonsense", "unknown_namer")])
def test_linkerd_takes_what_is_ready_in_a_union(other: str, shown: str) -> None:
    found = outcome(tree_bound(f"{other} & /s/slow", {"/s/slow": Pending()}, LINKERD))
    assert found in (shown, ("broken", shown))


def test_alternatives_that_are_not_needed_are_not_wanted() -> None:
    found = tree_bound("/s/live | /s/b | (/s/c & /s/d)", {"/s/live": LIVE})
    assert found.wanted == {Path.parse("/s/live")}


def test_binding_a_tree_without_branches_gives_no_such_name() -> None:
    for empty in (tree.Alt(()), tree.Union(())):
        assert bind_tree(parse_dtab(""), empty, [], state_of({})).tree == tree.Neg()


def test_a_single_branch_stands_for_itself() -> None:
    refused = tree.Union((tree.Weighted(3.0, tree.Fail()),))
    assert bind_tree(parse_dtab(""), refused, [], state_of({})).tree == tree.Fail()


def test_the_namer_configured_last_is_asked_first_and_the_next_when_it_has_no_such_name() -> None:
    wide, narrow = SourceNamer(Path.parse("/s"), 1), SourceNamer(Path.parse("/s/a"), 1)
    known = {"/s/a": LIVE, "/s/a/b": LIVE}
    path = Path.parse("/s/a/b")

    def name(namers: list[SourceNamer], known: dict[str, State]) -> Any:
        return bind(parse_dtab(""), path, namers, state_of(known)).tree

    assert name([wide, narrow], known) == leaf("/s/a/b")
    assert name([narrow, wide], known) == Leaf(BoundName(Path.parse("/s/a"), Path(("b",))))
    assert name([wide, narrow], {"/s/a": LIVE}) == Leaf(BoundName(Path.parse("/s/a"), Path(("b",))))


def test_one_written_tilde_does_not_mask_a_namer_but_two_do() -> None:
    known = {"/s/x": LIVE}
    assert bound_to("/s/x => ~", "/s/x", known).tree == leaf("/s/x")
    assert bound_to("/s/x => ~; /s => ~", "/s/x", known).tree == tree.Neg()
    assert bound_to("/s/x => !", "/s/x", known).tree == tree.Fail()


def test_the_same_input_gives_the_same_binding() -> None:
    known = {"/s/a": LIVE, "/s/b": LIVE}
    for one, other in itertools.pairwise([tree_bound("2 * /s/a & /s/b | ~", known) for _ in range(3)]):
        assert (one.tree, one.wanted, one.grade) == (other.tree, other.wanted, other.grade)


@pytest.mark.parametrize("alternate_on", [{"empty"}, set(), {"missing", "slow"}])
def test_options_that_mean_nothing_are_refused(alternate_on: set[str]) -> None:
    with pytest.raises(ValueError, match="alternate_on"):
        Options(alternate_on=frozenset(alternate_on))
