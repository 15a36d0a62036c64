from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path
from mesh.envoy.clusters import EMPTY_CLUSTER_NAME
from mesh.envoy.mirroring import Mirrors
from mesh.envoy.routes import EXT_PROC, direct, header_value, integer_shares, scope
from mesh.naming.tree import Alt, BoundName, BoundTree, Empty, Fail, Leaf, Neg, Union, Weighted


def leaf(name: str) -> BoundTree:
    return Leaf(BoundName(Path.parse(name)))


def union(*branches: tuple[float, BoundTree]) -> BoundTree:
    return Union(tuple(Weighted(weight, tree) for weight, tree in branches))


def split(tree: BoundTree) -> dict[str, int]:
    """The clusters of a scope for `tree` and their weights; the same on all its routes."""
    (host,) = scope("r", "users", tree).route_configuration.virtual_hosts
    (found,) = {
        tuple((each.name, each.weight.value) for each in route.route.weighted_clusters.clusters)
        or ((route.route.cluster, 1),)
        for route in host.routes
    }
    return dict(found)


def test_a_leaf_leads_to_its_cluster() -> None:
    assert split(leaf("/a")) == {"/a": 1}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (union((9, leaf("/a")), (1, leaf("/b"))), {"/a": 9, "/b": 1}),
        (union((0.1, leaf("/a")), (0.2, leaf("/b"))), {"/a": 1, "/b": 2}),
        (union((1, leaf("/a")), (1, leaf("/b")), (1, leaf("/a"))), {"/a": 2, "/b": 1}),
        (union((1, leaf("/a")), (1, union((1, leaf("/b")), (3, leaf("/c"))))), {"/a": 4, "/b": 1, "/c": 3}),
        (union((9, leaf("/a")), (1, Empty())), {"/a": 9, EMPTY_CLUSTER_NAME: 1}),
        (union((1, leaf("/a")), (0, leaf("/b"))), {"/a": 1}),
        (union((0, leaf("/a")), (0, leaf("/b"))), {EMPTY_CLUSTER_NAME: 1}),
        (union((1, leaf("/a")), (1, Neg()), (2, Fail())), {"/a": 1, EMPTY_CLUSTER_NAME: 3}),
        (Empty(), {EMPTY_CLUSTER_NAME: 1}),
    ],
)
def test_a_union_splits_by_weight(tree: BoundTree, expected: dict[str, int]) -> None:
    assert split(tree) == expected


def test_an_unbound_tree_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="bind chooses"):
        scope("r", "users", Alt((leaf("/a"), leaf("/b"))))


TREES = st.recursive(
    st.sampled_from(["/a", "/b", "/c"]).map(leaf),
    lambda trees: st.lists(st.tuples(st.floats(min_value=0.01, max_value=1e6), trees), min_size=1, max_size=4).map(
        lambda branches: union(*branches)
    ),
    max_leaves=12,
)


def exact(tree: BoundTree) -> dict[str, float]:
    if isinstance(tree, Leaf):
        return {tree.value.id.show(): 1.0}
    assert isinstance(tree, Union)
    total = sum(branch.weight for branch in tree.branches)
    shares: dict[str, float] = {}
    for branch in tree.branches:
        for name, share in exact(branch.tree).items():
            shares[name] = shares.get(name, 0) + share * branch.weight / total
    return shares


@given(TREES)
def test_integer_weights_keep_the_shares_to_one_in_100_000(tree: BoundTree) -> None:
    found, shares = split(tree), exact(tree)
    assert found.keys() == shares.keys()
    assert 0 < sum(found.values()) < 2**32
    for name, weight in found.items():
        assert weight / sum(found.values()) == pytest.approx(shares[name], abs=1e-5)


@given(st.lists(st.fractions(min_value=0, max_value=1).filter(bool), min_size=1, max_size=20))
def test_no_share_is_rounded_away(shares: list[object]) -> None:
    total = sum(shares)  # type: ignore[call-overload]
    found = integer_shares({str(number): share / total for number, share in enumerate(shares)})  # type: ignore[operator]
    assert min(found.values()) >= 1


def test_a_bound_route_is_free_of_the_resolver() -> None:
    for message in (scope("r", "users", leaf("/a")), direct("r", "users", 404, "no", "no")):
        (host,) = message.route_configuration.virtual_hosts
        assert all(EXT_PROC in route.typed_per_filter_config for route in host.routes)


def test_only_a_request_with_a_table_asks_the_resolver() -> None:
    (host,) = scope("r", "users", leaf("/a"), tables=True).route_configuration.virtual_hosts
    asking = [route for route in host.routes if EXT_PROC not in route.typed_per_filter_config]
    assert [header.name for route in asking for header in route.match.headers] == ["l5d-dtab", "l5d-ctx-dtab"]
    assert list(host.routes[:2]) == asking


def test_equal_trees_are_equal_bytes() -> None:
    one, other = union((1, leaf("/a")), (1, leaf("/b"))), union((1, leaf("/b")), (1, leaf("/a")))
    assert scope("r", "k", one).SerializeToString(deterministic=True) == scope("r", "k", other).SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize(
    ("text", "shown"), [("plain", "plain"), ("a\r\nb\tc", "a b c"), ("100 %", "100 %%"), ("\x00\x7f", "??"), ("é", "é")]
)
def test_a_reason_becomes_one_header_line(text: str, shown: str) -> None:
    assert header_value(text) == shown


def test_mirrors_stand_at_the_virtual_host_and_where_grpc_has_others_at_its_route() -> None:
    mirrors = Mirrors(others=(("/m", 5.0),), grpc=(("/m+grpc", 5.0),))
    (host,) = scope("r", "users", leaf("/a"), mirrors=mirrors).route_configuration.virtual_hosts
    assert [(each.cluster, each.disable_shadow_host_suffix_append) for each in host.request_mirror_policies] == [
        ("/m", True)
    ]
    assert host.request_mirror_policies[0].runtime_fraction.default_value.numerator == 50_000
    copied = [[each.cluster for each in route.route.request_mirror_policies] for route in host.routes]
    assert copied == [["/m+grpc"], []]
    same = Mirrors(others=(("/m", 5.0),), grpc=(("/m", 5.0),))
    (host,) = scope("r", "users", leaf("/a"), mirrors=same).route_configuration.virtual_hosts
    assert not any(route.route.request_mirror_policies for route in host.routes)
