from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path
from mesh.naming.pattern import Pattern
from mesh.policy.effective import BOUND_DEFAULTS, Entry, Policies, merge, written
from mesh.policy.settings import DEFAULTS, Settings

USERS, OTHER = Path.parse("/svc/users"), Path.parse("/svc/other")
CONSUL = Path.parse("/#/consul/dc1/users")


def entry(match: str, **settings: object) -> Entry:
    return Entry(match, Settings.model_validate(settings))


def test_without_entries_the_defaults_hold() -> None:
    assert Policies().of_name(USERS) == DEFAULTS
    assert Policies().of_bound(USERS, CONSUL) == BOUND_DEFAULTS
    assert BOUND_DEFAULTS.suffix == ""


def test_entries_are_merged_key_by_key_and_later_ones_win() -> None:
    policies = Policies(
        [
            entry("/", timeout={"request": 1, "connect": 2}),
            entry("/svc/other", timeout={"request": 9}),
            entry("/svc/*", timeout={"request": 3}, retries={"budget": {"percent": 5}}),
            entry("/svc/users", retries={"budget": {"floor": 0}}),
        ]
    )
    found = policies.of_name(USERS)
    assert (found.timeout.request, found.timeout.connect) == (3, 2)
    assert (found.retries.budget.percent, found.retries.budget.floor) == (5, 0)
    assert policies.of_name(OTHER).timeout.request == 3
    assert policies.of_name(Path.parse("/svc/users/v2")).retries.budget.floor == 0
    assert policies.of_name(Path.parse("/other")).timeout.request == 1


def test_null_switches_off_what_an_earlier_entry_or_the_default_says() -> None:
    policies = Policies([entry("/svc", health_check={}), entry("/svc/users", health_check=None, ejection=None)])
    assert policies.of_name(OTHER).health_check is not None
    assert policies.of_name(USERS).health_check is None
    assert policies.of_bound(USERS, CONSUL).ejection is None


def test_what_a_name_leads_to_is_matched_too_each_entry_once_and_in_order() -> None:
    policies = Policies(
        [entry("/#/consul", limits={"requests": 1}), entry("/svc/users", limits={"pending": 2, "requests": 3})]
    )
    assert policies.of_bound(OTHER, CONSUL).limits.requests == 1
    assert policies.of_bound(USERS, CONSUL).limits.requests == 3
    assert policies.of_name(OTHER).limits.requests == DEFAULTS.limits.requests


def test_clusters_are_told_apart_by_what_concerns_them() -> None:
    policies = Policies(
        [
            entry("/svc/users", timeout={"request": 1}),
            entry("/svc/other", timeout={"connect": 3}),
            entry("/svc/third", timeout={"connect": 3, "request": 1}),
            entry("/svc/fourth", balancing={"policy": "maglev", "hash_on": [{"source": True}]}),
            entry("/svc/fifth", balancing={"policy": "maglev", "hash_on": [{"header": "x"}]}),
        ]
    )
    suffixes = [
        policies.of_bound(Path.parse(f"/svc/{name}"), CONSUL).suffix
        for name in ("users", "other", "third", "fourth", "fifth")
    ]
    assert suffixes[0] == ""
    assert suffixes[1] == suffixes[2] != ""
    assert suffixes[3] == suffixes[4] != suffixes[1]


def test_captures_stand_in_the_values() -> None:
    policies = Policies([entry("/svc/{service}", health_check={"path": "/{service}/{unknown}"})])
    check = policies.of_bound(USERS, CONSUL).health_check
    assert check is not None
    assert check.path == "/users/{unknown}"


def test_each_key_knows_the_entry_that_set_it_last() -> None:
    first, second = entry("/svc", timeout={"request": 1, "idle": 2}), entry("/svc/users", timeout={"request": 3})
    said = {each.key: each for each in Policies([first, second]).said(USERS)}
    assert (said["timeout.request"].value, said["timeout.request"].entry) == (3, second)
    assert (said["timeout.idle"].value, said["timeout.idle"].entry) == (2, first)
    assert (said["timeout.connect"].value, said["timeout.connect"].entry) == (1, None)


SOME = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.fixed_dictionaries(
            {}, optional={"request": st.none() | st.integers(1, 9), "connect": st.integers(1, 9)}
        ),
        "limits": st.fixed_dictionaries({}, optional={"requests": st.integers(1, 9)}),
        "ejection": st.none() | st.fixed_dictionaries({}, optional={"gateway_failures": st.integers(1, 9)}),
    },
).map(Settings.model_validate)


@given(SOME, SOME)
def test_two_entries_say_the_same_as_both_in_one(one: Settings, two: Settings) -> None:
    assert merge(merge(DEFAULTS, one), two) == merge(DEFAULTS, merge(one, two))


@given(SOME, SOME)
def test_what_the_later_one_wrote_holds(one: Settings, two: Settings) -> None:
    merged = merge(merge(DEFAULTS, one), two)
    for key in written(two):
        found: object = merged
        wanted: object = two
        for step in key.split("."):
            found, wanted = getattr(found, step), getattr(wanted, step)
        if wanted is None or not hasattr(wanted, "model_fields_set"):
            assert found == wanted


_ELEMENTS = st.sampled_from(["svc", "users", "*", "{name}", "{a}.{b}", "x-{a}", r"\x20", "é"])
_SEGMENTS = st.sampled_from(["svc", "users", "x-1", "a.b", " ", "é", "*"])


@given(
    st.lists(st.lists(_ELEMENTS, max_size=3).map(lambda each: "/" + "/".join(each)), max_size=6),
    st.lists(_SEGMENTS, max_size=4).map(Path),
    st.none() | st.lists(_SEGMENTS, max_size=4).map(Path),
)
def test_the_entries_that_match_are_found_as_if_each_had_been_tried(
    matches: list[str], path: Path, id: Path | None
) -> None:
    entries = [Entry(match, Settings()) for match in matches]
    paths = [each for each in (path, id) if each is not None]
    tried = [each for each in entries if any(Pattern(each.match).captures(path) is not None for path in paths)]
    assert Policies(entries).matching(path, id) == tried
