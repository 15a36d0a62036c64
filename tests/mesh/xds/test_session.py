from __future__ import annotations

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from mesh.xds.events import Acked, Nack, Unclaimed
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE, Resource
from mesh.xds.session import Session
from mesh.xds.status import Standing
from mesh.xds.store import Store
from tests.fakes.xds_client import Client

Change = tuple[str, Resource]


def of(type_url: str, name: str, version: str = "v1") -> Change:
    """A resource whose content does not matter."""
    entry = b"\x0a" + bytes([len(version)]) + version.encode() + b"\x1a" + bytes([len(name)]) + name.encode()
    return type_url, Resource(name, version, b"\x12" + bytes([len(entry)]) + entry)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def client(store: Store) -> Client:
    return Client(Session(store))


def started(client: Client) -> Client:
    """Subscribed to everything, up to date."""
    client.subscribe(CLUSTER)
    client.settle()
    client.subscribe(LISTENER)
    client.subscribe(SCOPE, "r/*")
    client.settle()
    return client


def test_every_first_subscription_is_answered_even_with_nothing(client: Client) -> None:
    for type_url in (CLUSTER, LISTENER, SCOPE):
        client.subscribe(type_url)
    assert client.read() == ["Cluster()", "Listener()", "ScopedRouteConfiguration()"]


def test_an_empty_collection_is_answered_with_its_name_which_envoy_needs(client: Client) -> None:
    client.subscribe(SCOPE, "r/*")
    assert client.read() == ["ScopedRouteConfiguration(-r/*)"]


def test_a_removal_that_waits_for_scopes_does_not_hold_them_up_itself(store: Store) -> None:
    store.apply([of(CLUSTER, "a"), of(SCOPE, "r/x")])
    client = Client(Session(store), {CLUSTER: {"a": "v1", "old": "v1"}, LISTENER: {}, SCOPE: {"r/x": "to-old"}})
    store.settle()
    for subscribe in ([CLUSTER], [LISTENER], [SCOPE, "r/*"]):
        client.subscribe(*subscribe)
    assert client.read() == ["Cluster()", "Listener()"]
    client.settle()
    assert client.has == {CLUSTER: {"a": "v1"}, LISTENER: {}, SCOPE: {"r/x": "v1"}}


def test_a_wildcard_brings_all_a_name_brings_itself_a_glob_brings_its_collection(store: Store, client: Client) -> None:
    store.apply([of(CLUSTER, "a"), of(CLUSTER, "b"), of(ENDPOINTS, "a"), of(ENDPOINTS, "b")])
    store.apply([of(SCOPE, "r/x"), of(SCOPE, "s/x")])
    client.subscribe(CLUSTER)
    assert client.read() == ["Cluster(a=v1, b=v1)"]
    client.subscribe(ENDPOINTS, "b")
    assert client.read() == ["ClusterLoadAssignment(b=v1)"]
    client.ack(CLUSTER)
    client.subscribe(SCOPE, "s/*")
    assert client.read() == ["ScopedRouteConfiguration(s/x=v1)"]


def test_a_burst_is_one_response_with_the_newest_versions(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(CLUSTER, "a", "v1")])
    assert client.read() == ["Cluster(a=v1)"]
    for version in ("v2", "v3"):
        store.apply([of(CLUSTER, "a", version), of(CLUSTER, "b", version)])
        assert client.read() == []
    client.ack(CLUSTER)
    assert client.read()[0] == "Cluster(a=v3, b=v3)"


def test_what_changed_and_changed_back_is_not_sent(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(LISTENER, "l")])
    client.settle()
    store.apply([of(LISTENER, "l", "v2")])
    store.apply([of(LISTENER, "l", "v1")])
    assert client.read() == []


def test_a_scope_waits_until_its_cluster_is_warm(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(SCOPE, "r/x"), of(CLUSTER, "a"), of(ENDPOINTS, "a")])
    assert client.read() == ["Cluster(a=v1)"]
    client.subscribe(ENDPOINTS, "a")
    assert client.read() == ["ClusterLoadAssignment(a=v1)"]
    client.ack(ENDPOINTS)
    assert client.read() == []
    client.ack(CLUSTER)
    assert "ScopedRouteConfiguration(r/x=v1)" in client.read()


def test_a_later_cluster_does_not_hold_back_an_earlier_scope(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(SCOPE, "r/x")])
    store.apply([of(CLUSTER, "later")])
    assert client.read() == ["Cluster(later=v1)", "ScopedRouteConfiguration(r/x=v1)"]


def test_a_cluster_goes_after_the_scopes_that_left_it(store: Store, client: Client) -> None:
    store.apply([of(CLUSTER, "a"), of(CLUSTER, "b"), of(SCOPE, "r/x")])
    started(client)
    store.apply([of(SCOPE, "r/x", "to-b")], [(CLUSTER, "a")])
    assert client.read() == ["ScopedRouteConfiguration(r/x=to-b)"]
    assert client.read() == []
    client.ack(SCOPE)
    assert client.read() == ["Cluster(-a)"]


def test_a_scope_that_changes_while_it_waits_still_holds_its_old_cluster(store: Store, client: Client) -> None:
    store.apply([of(CLUSTER, "a"), of(SCOPE, "r/x", "to-a")])
    started(client)
    store.apply([of(CLUSTER, "b"), of(SCOPE, "r/x", "to-b")], [(CLUSTER, "a")])
    assert client.read() == ["Cluster(b=v1)"]
    store.apply([of(CLUSTER, "c"), of(SCOPE, "r/x", "to-c")])
    client.ack(CLUSTER)
    assert "Cluster(c=v1)" in client.read()
    client.ack(CLUSTER)
    assert "ScopedRouteConfiguration(r/x=to-c)" in client.read()
    client.ack(SCOPE)
    assert "Cluster(-a)" in client.read()


def test_a_scope_waits_for_a_cluster_that_changes_again_before_it_is_sent(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(CLUSTER, "other")])
    client.read()
    store.apply([of(CLUSTER, "a"), of(SCOPE, "r/x")])
    store.apply([of(CLUSTER, "a", "v2")])
    assert not [response for response in client.read() if "Scoped" in response]
    client.ack(CLUSTER)
    assert "Cluster(a=v2)" in client.read()


def test_a_refused_scope_keeps_the_cluster_of_its_last_good_version(store: Store, client: Client) -> None:
    store.apply([of(CLUSTER, "a"), of(SCOPE, "r/x", "to-a")])
    started(client)
    store.apply([of(SCOPE, "r/x", "bad")], [(CLUSTER, "a")])
    client.read()
    client.nack(SCOPE, "r/x: no")
    assert client.read() == []
    store.apply([of(SCOPE, "r/x", "good")])
    client.settle()
    assert client.has[CLUSTER] == {}


def test_a_cluster_that_comes_back_before_it_went_is_not_sent(store: Store, client: Client) -> None:
    store.apply([of(CLUSTER, "a"), of(SCOPE, "r/x")])
    started(client)
    store.apply([of(SCOPE, "r/x", "v2")], [(CLUSTER, "a")])
    client.read()
    store.apply([of(CLUSTER, "a")])
    client.settle()
    assert client.has[CLUSTER] == {"a": "v1"}
    assert client.session.subscriptions[CLUSTER].counts.sent == 1


def test_endpoints_follow_their_changed_cluster_though_they_did_not_change(store: Store, client: Client) -> None:
    store.apply([of(CLUSTER, "a"), of(ENDPOINTS, "a")])
    started(client)
    store.apply([of(CLUSTER, "a", "v2")])
    assert client.read() == ["Cluster(a=v2)", "ClusterLoadAssignment(a=v1)"]


def test_endpoints_are_never_withdrawn_before_their_cluster(store: Store, client: Client) -> None:
    store.apply([of(CLUSTER, "a"), of(ENDPOINTS, "a"), of(SCOPE, "r/x")])
    started(client)
    store.apply([], [(SCOPE, "r/x"), (CLUSTER, "a"), (ENDPOINTS, "a")])
    assert client.read() == ["ScopedRouteConfiguration(-r/x)"]
    client.ack(SCOPE)
    assert client.read() == ["Cluster(-a)"]


def test_equal_versions_are_not_sent_again_to_a_client_that_comes_back(store: Store) -> None:
    store.settle()
    store.apply([of(CLUSTER, "a"), of(CLUSTER, "b", "v2"), of(ENDPOINTS, "a"), of(SCOPE, "r/x")])
    has = {
        CLUSTER: {"a": "v1", "b": "v1", "gone": "v1"},
        ENDPOINTS: {"a": "v1"},
        LISTENER: {},
        SCOPE: {"r/x": "v1"},
    }
    client = Client(Session(store), has)
    client.subscribe(CLUSTER)
    client.subscribe(ENDPOINTS, "a")
    # Not `gone`: nobody knows yet whether a scope leads to it.
    assert client.read() == ["Cluster(b=v2)", "ClusterLoadAssignment()"]
    client.subscribe(LISTENER)
    client.subscribe(SCOPE, "r/*")
    client.settle()
    assert client.has[CLUSTER] == {"a": "v1", "b": "v2"}
    assert client.session.subscriptions[SCOPE].counts.sent == 1


def test_what_a_restarted_store_does_not_know_yet_is_kept_and_reported(store: Store) -> None:
    has = {CLUSTER: {"a": "v1", "b": "v1"}, LISTENER: {}, SCOPE: {"r/x": "v1", "r/y": "v1"}}
    store.assume(SCOPE, has[SCOPE])
    client = started(Client(Session(store), has))
    assert client.events[0] == Unclaimed(CLUSTER, ("a", "b"))
    assert client.session.subscriptions[SCOPE].unclaimed == {"r/x", "r/y"}
    store.apply([of(SCOPE, "r/x"), of(CLUSTER, "a")])
    client.settle()
    assert client.has[SCOPE] == {"r/x": "v1", "r/y": "v1"}
    store.settle()
    client.settle()
    assert (client.has[SCOPE], client.has[CLUSTER]) == ({"r/x": "v1"}, {"a": "v1"})


def test_no_cluster_is_withdrawn_under_a_scope_that_is_not_claimed_yet(store: Store) -> None:
    store.assume(SCOPE, ["r/x"])
    client = started(Client(Session(store), {CLUSTER: {"a": "v1"}, LISTENER: {}, SCOPE: {"r/x": "to-a"}}))
    store.apply(remove=[(CLUSTER, "a")])
    assert client.read() == []
    store.apply([of(CLUSTER, "b"), of(SCOPE, "r/x", "to-b")])
    assert client.read() == ["Cluster(b=v1)"]
    client.ack(CLUSTER)
    client.read()
    assert client.has[CLUSTER] == {"a": "v1", "b": "v1"}
    client.ack(SCOPE)
    assert client.read() == ["Cluster(-a)"]


def test_one_name_can_be_withdrawn_before_the_store_settles(store: Store) -> None:
    store.assume(SCOPE, ["r/x", "r/y"])
    client = started(Client(Session(store), {CLUSTER: {}, LISTENER: {}, SCOPE: {"r/x": "v1", "r/y": "v1"}}))
    store.apply(remove=[(SCOPE, "r/x")])
    client.settle()
    assert client.has[SCOPE] == {"r/y": "v1"}


def test_endpoints_nobody_knows_are_answered_when_the_store_has_settled(store: Store, client: Client) -> None:
    client.subscribe(ENDPOINTS, "a")
    assert client.read() == ["ClusterLoadAssignment()"]
    client.ack(ENDPOINTS)
    store.settle()
    assert client.read() == ["ClusterLoadAssignment(-a)"]


def test_a_refused_version_is_reported_and_not_sent_until_it_changes(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(CLUSTER, "good"), of(CLUSTER, "bad")])
    client.read()
    client.nack(CLUSTER, "Error adding/updating cluster(s) bad: no", took=["good"])
    assert client.events[-1] == Nack(
        CLUSTER, ("good", "bad"), ("v1", "v1"), "Error adding/updating cluster(s) bad: no", ("bad",)
    )
    assert "bad" not in "".join(client.read())
    assert client.session.standing(CLUSTER, "bad")[0] is Standing.REFUSED
    assert client.session.standing(CLUSTER, "good")[0] is Standing.APPLIED
    store.apply([of(CLUSTER, "bad", "v2")])
    assert client.read()[0] == "Cluster(bad=v2)"
    client.ack(CLUSTER)
    assert client.session.standing(CLUSTER, "bad")[0] is Standing.APPLIED


def test_a_refused_change_leaves_the_last_good_version_and_can_go_back_to_it(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(LISTENER, "l", "good")])
    client.settle()
    store.apply([of(LISTENER, "l", "bad")])
    client.read()
    client.nack(LISTENER, "l: no")
    store.apply([of(LISTENER, "l", "good")])
    assert client.read() == []
    assert client.session.standing(LISTENER, "l")[0] is Standing.APPLIED


def test_after_refused_endpoints_the_others_are_sent_one_by_one(store: Store, client: Client) -> None:
    store.apply([of(ENDPOINTS, name) for name in ("a", "b", "c")])
    client.subscribe(ENDPOINTS, "a", "b", "c")
    client.read()
    client.nack(ENDPOINTS, "malformed IP address in b", took=["a"])
    assert client.read() == ["ClusterLoadAssignment(a=v1)"]
    client.ack(ENDPOINTS)
    assert client.read() == ["ClusterLoadAssignment(c=v1)"]
    client.ack(ENDPOINTS)
    assert client.read() == []


def test_a_refusal_that_names_nobody_is_narrowed_down(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(CLUSTER, "a"), of(CLUSTER, "b")])
    client.read()
    client.nack(CLUSTER, "no")
    assert client.read() == ["Cluster(a=v1)"]
    client.ack(CLUSTER)
    assert "Cluster(b=v1)" in client.read()
    client.nack(CLUSTER, "no")
    assert isinstance(client.events[-1], Nack)
    assert client.events[-1].culprits == ("b",)


def test_a_scope_refused_for_want_of_a_cluster_is_sent_again_when_the_cluster_is_there(
    store: Store, client: Client
) -> None:
    started(client)
    store.apply([of(SCOPE, "r/x"), of(CLUSTER, "/#/a")])
    client.read()
    client.nack(CLUSTER, "/#/a: no")
    client.read()
    client.nack(SCOPE, "r/x: unknown cluster '/#/a'")
    assert client.read() == []
    store.apply([of(CLUSTER, "/#/a", "v2")])
    client.read()
    client.ack(CLUSTER)
    assert "ScopedRouteConfiguration(r/x=v1)" in client.read()


def test_a_name_inside_a_longer_name_is_not_blamed_for_it(store: Store, client: Client) -> None:
    started(client)
    store.apply([of(CLUSTER, "/#/a"), of(CLUSTER, "/#/a-b")])
    client.read()
    client.nack(CLUSTER, "Error adding/updating cluster(s) /#/a-b: no", took=["/#/a"])
    assert isinstance(client.events[-1], Nack)
    assert client.events[-1].culprits == ("/#/a-b",)


def test_an_acknowledgement_of_something_else_is_ignored(store: Store, client: Client) -> None:
    store.apply([of(CLUSTER, "a")])
    client.subscribe(CLUSTER)
    client.read()
    assert client.session.receive(DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce="stale")) == []
    assert client.session.standing(CLUSTER, "a")[0] is Standing.WAITING
    client.ack(CLUSTER)
    assert client.events == [Acked(CLUSTER, ("a",))]


def test_a_client_that_never_acknowledges_is_sent_one_response_per_type(store: Store, client: Client) -> None:
    client.subscribe(CLUSTER)
    client.read()
    for number in range(100):
        store.apply([of(CLUSTER, f"c{number % 3}", f"v{number}")])
        assert client.read() == []
    assert len(client.session.subscriptions[CLUSTER].dirty) == 3


def test_what_is_subscribed_again_is_sent_again(store: Store, client: Client) -> None:
    store.apply([of(ENDPOINTS, "a")])
    client.subscribe(ENDPOINTS, "a")
    client.settle()
    client.unsubscribe(ENDPOINTS, "a")
    store.apply([of(ENDPOINTS, "a", "v2")])
    assert client.read() == []
    client.subscribe(ENDPOINTS, "a")
    assert client.read() == ["ClusterLoadAssignment(a=v2)"]


def test_a_session_that_slept_through_very_many_removals_still_converges(store: Store, client: Client) -> None:
    started(client)
    store.settle()
    store.apply([of(SCOPE, f"r/{number}") for number in range(5000)])
    client.settle()
    for number in range(4999):
        store.apply(remove=[(SCOPE, f"r/{number}")])
    client.settle()
    assert client.has[SCOPE] == {"r/4999": "v1"}
