from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path
from mesh.cli.shifting import NotShiftable, Standing, standing, steps
from mesh.naming.dtab import parse_dtab, parse_tree

USERS, TARGET = Path.parse("/svc/users"), Path.parse("/#/ecs/prod/users")


def at(text: str) -> Standing:
    return standing(text, USERS, TARGET)


def test_a_dentry_for_the_name_is_appended_and_the_rest_stays_as_it_is_written() -> None:
    text = "# who is where\n/svc => /#/consul/dc1 | /#/files ;  # both\n"
    begun = at(text)
    assert begun.percent == 0
    assert begun.at(10) == (
        f"{text}/svc/users => 90 * (/#/consul/dc1/users | /#/files/users) & 10 * /#/ecs/prod/users ;\n"
    )


def test_at_the_end_it_leads_to_the_target_alone() -> None:
    assert at("/svc => /#/files ;\n").at(100) == "/svc => /#/files ;\n/svc/users => /#/ecs/prod/users ;\n"


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("/svc => /#/files", "/svc => /#/files ;\n"),
        ("/svc => /#/files # one; two", "/svc => /#/files ; # one; two\n"),
        ("/svc => /#/files ; # last", "/svc => /#/files ; # last\n"),
        ("/svc => (/#/files | /#/dns)   \n\n", "/svc => (/#/files | /#/dns) ;   \n\n"),
    ],
)
def test_the_last_dentry_is_closed_before_another_follows(text: str, then: str) -> None:
    assert at(text).at(100) == f"{then}/svc/users => /#/ecs/prod/users ;\n"


def test_the_dentry_of_the_name_is_changed_where_it_stands_if_it_is_tried_first() -> None:
    text = "/svc => /#/files ;\n/svc/users => /#/consul/dc1/users ; # theirs\n/svc/orders => /#/dns/orders ;\n"
    changed = at(text).at(25)
    assert changed == text.replace(
        "/svc/users => /#/consul/dc1/users",
        "/svc/users => 75 * (/#/consul/dc1/users | /#/files/users) & 25 * /#/ecs/prod/users",
    )


def test_a_dentry_that_a_later_one_comes_before_is_left_alone() -> None:
    text = "/svc/users => /#/files/users ;\n/svc/* => /#/dns ;\n"
    assert at(text).at(100) == f"{text}/svc/users => /#/ecs/prod/users ;\n"


def test_a_shift_goes_on_from_what_the_table_says() -> None:
    half = at("/svc => /#/consul/dc1 | /#/files ;").at(50)
    again = at(half)
    assert again.percent == 50
    assert again.at(60) == at("/svc => /#/consul/dc1 | /#/files ;").at(60)
    assert at(half).at(100).endswith("/svc/users => /#/ecs/prod/users ;\n")


def test_weights_that_somebody_wrote_are_kept_among_what_stays() -> None:
    text = "/svc/users => 3 * /#/a/users & 1 * /#/b/users & 1 * /#/ecs/prod/users"
    begun = at(text)
    assert begun.percent == 20
    assert begun.at(40) == "/svc/users => 60 * (3.00*/#/a/users & /#/b/users) & 40 * /#/ecs/prod/users"


def test_a_name_that_leads_to_the_target_already_is_done() -> None:
    assert at("/svc/users => /#/ecs/prod/users").percent == 100
    assert at("/svc => /#/ecs/prod").percent == 100


def test_a_name_that_leads_nowhere_can_not_be_shifted() -> None:
    with pytest.raises(NotShiftable, match=r"no entry of the table is for /svc/users\. Write one: /svc/users => "):
        at("/host => /#/files")


@pytest.mark.parametrize(
    ("start", "step", "percents"),
    [(0, 25, [25, 50, 75, 100]), (0, 40, [40, 80, 100]), (50, 50, [100]), (0, 33.3, [33.3, 66.6, 99.9, 100])],
)
def test_the_steps(start: float, step: float, percents: list[float]) -> None:
    assert list(steps(start, step)) == percents


TREES = ("/#/a", "/#/a | /#/b", "/#/a & 2 * /#/b", "3 * (/#/a | !) & /#/b", "~ | /#/b")
DENTRIES = st.lists(
    st.builds(
        lambda prefix, tree, tail: f"{prefix} => {tree}{tail}",
        st.sampled_from(("/svc", "/svc/users", "/svc/*", "/svc/orders", "/")),
        st.sampled_from(TREES),
        st.sampled_from(("", " ", "\n", " # a ; b => c\n")),
    ),
    min_size=1,
    max_size=6,
)


@given(DENTRIES, st.sampled_from((1.0, 33.3, 50.0, 99.5)), st.sampled_from((10.0, 100.0)), st.booleans())
def test_whatever_the_table_the_name_is_split_as_said_and_no_other_name_moves(
    dentries: list[str], first: float, then: float, closed: bool
) -> None:
    text = ";".join(dentries) + (";" if closed else "")
    begun = at(text + "/svc/users => /#/a" if closed else text + ";/svc/users => /#/a")
    once = begun.at(first)
    again = at(once)
    assert again.percent == first
    assert again.stays == begun.stays
    assert at(again.at(then)).percent == then
    changed = parse_dtab(again.at(then))
    other = Path.parse("/svc/carts")
    assert changed.lookup(other) == parse_dtab(begun.text).lookup(other)
    if then == 100:
        assert changed.scan(USERS)[0][0].tree == parse_tree(TARGET.show())
