from __future__ import annotations

from collections.abc import Mapping

import pytest

from discovery.address import Addr, Endpoint, Failed, Known, Neg, Pending, State, bound
from discovery.path import Path
from mesh.control.effect import Rules, Use, View
from mesh.control.preview import Preview, as_json, preview
from mesh.naming.bind import Options
from mesh.naming.dtab import parse_dtab
from mesh.naming.namers import LongestNamer, SourceNamer
from mesh.policy.effective import Policies
from mesh.policy.entry import PolicyEntry

NAMERS = [SourceNamer(Path(("#", kind)), 1) for kind in ("one", "two")]
EVERYBODY = View(NAMERS)
USERS, CART = Path(("svc", "users")), Path(("svc", "cart"))


def at(*last: int) -> Known:
    return Known(bound(Endpoint(f"10.0.0.{each}", 80) for each in last), 0, 0)


def state_of(**known: State | Addr) -> Mapping[Path, State]:
    """`one_users`: /#/one/users."""
    return {
        Path(("#", *label.split("_"))): each if isinstance(each, Pending | Known | Failed) else Known(each, 0, 0)
        for label, each in known.items()
    }


SERVED = state_of(one_users=at(1, 2), two_users=at(3), one_cart=at(5), two_cart=at(6))


def rules(dtab: str, *policies: Mapping[str, object]) -> Rules:
    return Rules(parse_dtab(dtab), Policies([PolicyEntry.model_validate(each).entry for each in policies]))


def seen(
    before: str | Rules,
    after: str | Rules,
    states: Mapping[Path, State] = SERVED,
    rates: Mapping[Path, float] | None = None,
    limit: float | None = None,
) -> Preview:
    one, other = (rules(each) if isinstance(each, str) else each for each in (before, after))
    uses = [Use("http", path, {EVERYBODY: rate}) for path, rate in (rates or {USERS: 3.0, CART: 1.0}).items()]
    return preview(uses, one, other, Options(), lambda path: states.get(path, Known(Neg(), 0, 0)), limit)


def rows(found: Preview) -> list[tuple[str, str, str]]:
    return [(each.use.path.show(), each.before.tree, each.after.tree) for each in found.effects]


def test_a_name_that_moves_is_told_with_old_and_new_destination_and_endpoints() -> None:
    found = as_json(seen("/svc => /#/one", "/svc => /#/one; /svc/users => /#/two/users", limit=0.1))
    assert found == {
        "names": 2,
        "changed": [
            {
                "name": "/svc/users",
                "router": "http",
                "before": "/#/one/users",
                "after": "/#/two/users",
                "outcome_before": "bound",
                "outcome_after": "bound",
                "breaks": False,
                "before_endpoints": 2,
                "after_endpoints": 1,
                "gained": ["10.0.0.3:80"],
                "lost": ["10.0.0.1:80", "10.0.0.2:80"],
                "share": 0.75,
                "moves": 1.0,
                "rate": 3.0,
                "settings": (),
                "copies": [],
                "agents": (),
                "note": None,
            }
        ],
        "unknown": [],
        "moved_share": 0.75,
        "unknown_share": 0.0,
        "by": "requests",
        "silent": {},
        "limit": 0.1,
        "refused": True,
    }


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        ("/svc => 90 * /#/one & 10 * /#/two", "/svc => 80 * /#/one & 20 * /#/two", 0.1),
        ("/svc => 9 * /#/one & 1 * /#/two", "/svc => 1 * /#/two & 9 * /#/one", 0.0),
        ("/svc => /#/one", "/svc => 3 * /#/one & 1 * /#/two", 0.25),
        ("/svc => /#/one", "/svc => 3 * /#/one & 1 * /#/none", 0.0),
        ("/svc => /#/one & $", "/svc => /#/two", 1.0),
        ("/svc => /#/one", "/svc => ~", 1.0),
        ("/svc => ~", "/svc => !", 0.0),
        ("/svc => /#/one", "/svc/users => /#/one/users/more; /svc => /#/one/users/more", 0.0),
    ],
)
def test_only_the_share_that_goes_elsewhere_moves(before: str, after: str, moves: float) -> None:
    found = seen(before, after, rates={USERS: 1.0})
    assert found.moved_share == pytest.approx(moves)


def test_a_union_s_shared_instances_are_counted_once_as_they_are_by_agents() -> None:
    """All that /#/two has, /#/one has, too: so everything goes on as it was."""
    same = state_of(one_users=at(1, 2), two_users=at(2))
    found = seen("/svc => /#/one", "/svc => /#/one & /#/two", same, {USERS: 1.0})
    (effect,) = found.effects
    assert (effect.moves, effect.note) == (0.0, "requests go where they went")


def test_a_branch_without_weight_takes_no_instance_from_one_that_serves() -> None:
    """The last step of a shift between two sources that know the same instances."""
    same = state_of(one_users=at(1, 2), two_users=at(2, 1))
    (effect,) = seen("/svc => /#/one", "/svc => 0 * /#/one & 1 * /#/two", same, {USERS: 1.0}).effects
    assert (effect.moves, effect.after.outcome, len(effect.after.endpoints)) == (1.0, "bound", 2)


def test_weights_and_residuals_are_shown() -> None:
    found = seen("/svc => /#/one", "/svc/users => 9 * /#/one/users/x & 1 * /#/two/users", rates={USERS: 1.0})
    assert rows(found) == [("/svc/users", "/#/one/users", "9.00*/#/one/users (residual /x) & /#/two/users")]


def test_what_would_break_comes_first_and_then_what_moves_most() -> None:
    names = {Path(("svc", name)): rate for name, rate in (("a", 1.0), ("b", 9.0), ("c", 5.0), ("d", 7.0))}
    served = state_of(**{f"{kind}_{name}": at(1) for kind in ("one", "two") for name in "abcd"})
    found = seen("/svc => /#/one", "/svc => /#/two; /svc/a => !; /svc/d => $", served, names)
    assert [(each.use.path[-1], each.breaks) for each in found.effects] == [
        ("d", True),
        ("a", True),
        ("b", False),
        ("c", False),
    ]


def test_settings_that_change_are_told_though_the_destination_stays() -> None:
    before = rules("/svc => /#/one", {"match": "/svc/users", "timeout": {"request": "5s"}})
    after = rules(
        "/svc => /#/one",
        {"match": "/svc/users", "timeout": {"request": "9s"}},
        {"match": "/#/one/cart", "limits": {"connections": 7}},
    )
    found = seen(before, after)
    assert {each.use.path: each.settings for each in found.effects} == {
        USERS: ("timeout.request",),
        CART: ("limits.connections",),
    }
    assert found.moved_share == 0
    assert all(each.before == each.after for each in found.effects)


def test_failover_and_mirrors_are_bindings_too() -> None:
    failover = seen(
        rules("/svc => /#/one | /#/two"), rules("/svc => /#/one | /#/two", {"match": "/svc", "failover": True})
    )
    assert rows(failover)[0] == ("/svc/cart", "/#/one/cart", "/#/one/cart | /#/two/cart")
    mirror = {"match": "/svc/users", "mirror": [{"to": "/svc/cart"}]}
    mirrored = seen(rules("/svc => /#/one", mirror), rules("/svc => /#/one; /svc/cart => /#/two/cart", mirror))
    (copies,) = next(each.copies for each in mirrored.effects if each.use.path == USERS)
    assert (copies.before, copies.after) == ("/#/one/cart", "/#/two/cart")


def test_what_has_no_answer_yet_is_unknown_and_not_guessed() -> None:
    for pending in (Pending(), Pending("it is slow")):
        states = {**SERVED, **state_of(two_users=pending)}
        found = seen("/svc => /#/one", "/svc => /#/two & /#/one", states, limit=0.8)
        (unknown,) = found.unknown
        assert unknown.use.path == USERS
        assert unknown.reason == f"/#/two/users: {pending.reason or 'it has not answered yet'}"
        assert unknown.waits_for == {Path(("#", "two", "users"))}
        # It may move, so that the change needs a yes.
        assert found.unknown_share == 0.75
        assert found.refused


def test_what_is_pending_and_does_not_matter_leaves_a_name_known() -> None:
    namers = [LongestNamer(Path(("#", "one")))]
    states = state_of(one_users=at(1), one_cart=at(2))
    pending = {Path(("#", "one", "x", "users")): Pending()}

    def state(path: Path) -> State:
        return pending.get(path) or states.get(path) or Known(Neg(), 0, 0)

    uses = [Use("http", USERS, {View(namers): 1.0})]
    found = preview(uses, rules("/svc => /#/one"), rules("/svc => /#/one/x | /#/one"), Options(), state)
    assert [each.reason for each in found.unknown] == ["/#/one/x/users: it has not answered yet"]
    found = preview(uses, rules("/svc => /#/one"), rules("/svc => /#/one; /cart => /#/one/x"), Options(), state)
    assert (found.effects, found.unknown) == ([], [])


def test_a_source_that_never_answered_counts_as_missing_and_that_is_said() -> None:
    states = {**SERVED, **state_of(two_users=Failed("dark"))}
    found = seen("/svc => /#/one", "/svc => /#/two", states, {USERS: 1.0})
    (effect,) = found.effects
    assert (effect.after.outcome, effect.note) == ("neg", "/#/two/users has not answered, so it counts as missing")


def test_while_nobody_calls_each_name_counts_alike() -> None:
    found = seen("/svc => /#/one", "/svc/users => /#/two/users; /svc => /#/one", rates={USERS: 0.0, CART: 0.0})
    assert not found.effects
    found = seen("/svc => /#/one", "/svc => /#/one; /svc/users => /#/two/users", rates={USERS: 0.0, CART: 0.0})
    assert as_json(found)["by"] == "names"
    assert found.moved_share == 0.5
    assert [row["rate"] for row in as_json(found)["changed"]] == [0.0]  # type: ignore[attr-defined]


def test_no_name_in_use_no_share() -> None:
    found = preview([], rules("/svc => /#/one"), rules("/svc => /#/two"), Options(), lambda _path: Pending(), 0.0)
    assert (found.moved_share, found.refused) == (0.0, False)


def own(agent: str, **known: State | Addr) -> View:
    root = Path(("#", "two"))
    return View((SourceNamer(root, 1),), (agent,), state_of(**known), (root,)).over(NAMERS)


def test_names_of_agents_own_sources_are_answered_by_what_each_of_them_reports() -> None:
    a, b, c, others = own("a", two_users=at(1)), own("b", two_users=Neg()), own("c"), View(NAMERS, ("y", "z"))
    states = state_of(one_users=at(1, 2), two_users=at(9))
    found = preview(
        [Use("http", USERS, {others: 1.0, a: 2.0, b: 3.0, c: 4.0})],
        rules("/svc => /#/one"),
        rules("/svc => /#/two | /#/one"),
        Options(),
        lambda path: states.get(path, Known(Neg(), 0, 0)),
    )
    # Those without the source see what the control plane sees; to b nothing happens.
    (effect,) = found.effects
    assert (effect.agents, effect.after.tree, effect.rate) == (("a", "y", "z"), "/#/two/users", 3.0)
    (unknown,) = found.unknown
    assert (unknown.agents, unknown.rate, unknown.waits_for) == (("c",), 4.0, frozenset())
    assert "only agents with this source of their own can tell" in unknown.reason
    assert found.unknown_share == 0.4


def test_an_agent_s_own_dentries_are_behind_the_namespace_s() -> None:
    others, own_table = (
        View(NAMERS, ("y",)),
        View((), ("a",), dtab=parse_dtab("/svc/users => /#/two/users")).over(NAMERS),
    )
    found = preview(
        [Use("http", path, {others: 1.0, own_table: 1.0}) for path in (USERS, CART)],
        rules("/svc => /#/one"),
        rules("/svc => /#/two"),
        Options(),
        lambda path: SERVED.get(path, Known(Neg(), 0, 0)),
    )
    assert [(each.use.path, each.agents) for each in found.effects] == [(CART, ()), (USERS, ("y",))]
    assert found.moved_share == 0.75


def test_agents_that_see_the_same_are_one_row_without_names() -> None:
    rates = {own("a", two_users=at(1)): 1.0, own("b", two_users=at(1)): 3.0}
    found = preview(
        [Use("http", USERS, rates)],
        rules("/svc => /#/one"),
        rules("/svc => /#/two"),
        Options(),
        lambda path: SERVED.get(path, Known(Neg(), 0, 0)),
    )
    (effect,) = found.effects
    assert (effect.agents, effect.rate) == ((), 4.0)
