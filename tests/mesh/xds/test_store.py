from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.xds.resource import CLUSTER, SCOPE, Resource
from mesh.xds.store import Changes, Store


def of(name: str, version: str = "v1") -> tuple[str, Resource]:
    return CLUSTER, Resource(name, version, b"")


def test_equal_content_is_no_change() -> None:
    store = Store()
    assert store.apply([of("a"), of("b")]) == Changes(1, ((CLUSTER, "a"), (CLUSTER, "b")))
    assert not store.apply([of("a")])
    assert store.sequence == 1
    assert store.apply([of("a", "v2"), of("b")]) == Changes(2, ((CLUSTER, "a"),))


def test_a_name_both_put_and_removed_stays() -> None:
    store = Store()
    store.apply([of("a")])
    assert not store.apply([of("a")], [(CLUSTER, "a")])
    assert store.get(CLUSTER, "a") is not None


def test_removals_are_changes_and_are_told_from_names_never_known() -> None:
    store = Store()
    store.apply([of("a")])
    assert store.apply(remove=[(CLUSTER, "a")]).removed == ((CLUSTER, "a"),)
    assert store.is_removed(CLUSTER, "a")
    assert not store.is_removed(CLUSTER, "b")
    assert not store.is_removed(SCOPE, "a")


def test_before_settling_a_name_that_is_not_here_can_be_removed() -> None:
    store = Store()
    assert store.apply(remove=[(CLUSTER, "a")])
    assert store.is_removed(CLUSTER, "a")
    assert not store.apply(remove=[(CLUSTER, "a")])
    store.settle()
    assert not store.apply(remove=[(CLUSTER, "b")])


def test_what_changed_comes_oldest_first_with_its_number() -> None:
    store = Store()
    store.apply([of("a"), of("b"), of("c")])
    store.apply([of("a", "v2")])
    store.apply(remove=[(CLUSTER, "b")])
    assert store.changed_since(CLUSTER, 0) == [("c", 1), ("a", 2), ("b", 3)]
    assert store.changed_since(CLUSTER, 2) == [("b", 3)]
    assert store.changed_since(CLUSTER, 3) == []
    assert store.changed_since(SCOPE, 0) == []


def test_names_that_come_and_go_do_not_pile_up() -> None:
    store = Store()
    for number in range(10_000):
        store.apply([of(f"name{number}")])
        store.apply(remove=[(CLUSTER, f"name{number}")])
    assert store.changed_since(CLUSTER, 0) is None
    recent = store.changed_since(CLUSTER, store.sequence - 20)
    assert recent is not None
    assert len(recent) == 10


def test_what_is_confirmed_gone_is_no_longer_assumed() -> None:
    store = Store()
    store.assume(CLUSTER, ["a", "b"])
    store.assume(CLUSTER, ["c"])
    store.apply([of("b")])
    store.assume_no_more(CLUSTER, ["a", "b"])
    assert store.assumed == {CLUSTER: frozenset({"b", "c"})}


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["v1", "v2", None])), max_size=30), st.integers(0, 30)
)
def test_the_changes_since_then_lead_from_then_to_now(steps: list[tuple[str, str | None]], since: int) -> None:
    store, seen = Store(), [dict[str, str]()]
    for name, version in steps:
        changed = store.apply([of(name, version)]) if version else store.apply(remove=[(CLUSTER, name)])
        if changed:
            seen.append({each.name: each.version for each in store.resources(CLUSTER).values()})
    then = dict(seen[min(since, store.sequence)])
    for name, _ in store.changed_since(CLUSTER, min(since, store.sequence)) or []:
        now = store.get(CLUSTER, name)
        if now is None:
            then.pop(name, None)
        else:
            then[name] = now.version
    assert then == seen[-1]
