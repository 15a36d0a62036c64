from __future__ import annotations

from discovery.kubernetes.records import Port, Service, Slice
from discovery.kubernetes.store import Store

USERS = Slice("shop", "users-1", "users", "IPv4", (Port("http", 8080),))
MORE = Slice("shop", "users-2", "users", "IPv4", (Port("http", 8081),))
ORDERS = Slice("shop", "orders-1", "orders", "IPv4")


def test_slices_are_found_by_their_service() -> None:
    store = Store([USERS, MORE, ORDERS])
    assert list(store.of(("shop", "users"))) == [USERS, MORE]
    assert set(store.keys()) == {("shop", "users"), ("shop", "orders")}
    assert list(store.of(("other", "users"))) == []


def test_the_same_again_is_no_news() -> None:
    store = Store([USERS])
    assert store.put(USERS) == []
    assert store.put(Slice("shop", "users-1", "users", "IPv4")) == [("shop", "users")]


def test_a_slice_that_moves_to_another_service_is_news_of_both() -> None:
    store = Store([USERS])
    moved = Slice("shop", "users-1", "people", "IPv4")
    assert store.put(moved) == [("shop", "users"), ("shop", "people")]
    assert list(store.keys()) == [("shop", "people")]


def test_a_slice_that_loses_its_label_is_gone() -> None:
    store = Store([USERS, MORE])
    assert store.put(Slice("shop", "users-1", "", "IPv4")) == [("shop", "users")]
    assert list(store.of(("shop", "users"))) == [MORE]
    assert store.put(Slice("shop", "users-9", "", "IPv4")) == []


def test_what_was_removed_is_gone_and_what_never_was_is_no_news() -> None:
    store = Store([USERS])
    assert store.remove("shop", "users-1") == [("shop", "users")]
    assert store.remove("shop", "users-1") == []
    assert list(store.keys()) == []


def test_two_stores_differ_in_the_services_of_which_they_hold_something_else() -> None:
    before, after = Store([USERS, ORDERS]), Store([USERS, MORE])
    assert sorted(before.differing(after)) == [("shop", "orders"), ("shop", "users")]
    assert before.differing(Store([ORDERS, USERS])) == []


def test_what_is_read_again_and_has_not_changed_is_the_record_that_is_here() -> None:
    again = Slice("shop", "users-1", "users", "IPv4", (Port("http", 8080),))
    changed = Slice("shop", "users-1", "users", "IPv4")
    store = Store([USERS])
    assert store.known(again) is USERS
    assert store.known(changed) is changed
    assert store.known(ORDERS) is ORDERS


def test_services_are_kept_by_their_own_name() -> None:
    service = Service("shop", "users", (Port("", 80),))
    assert list(Store([service]).of(("shop", "users"))) == [service]
