from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.envoy.names import parse_scope, scope_collection, scope_key, scope_resource, stat_name

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, TEXT)
def test_a_scope_name_is_read_back(router: str, key: str) -> None:
    assert parse_scope(scope_resource(router, key)) == (router, key)


@given(TEXT, TEXT, TEXT)
def test_a_scope_is_in_the_collection_of_its_router_alone(router: str, other: str, key: str) -> None:
    prefix = scope_collection(other).removesuffix("*")
    assert scope_resource(router, key).startswith(prefix) == (router == other)


@pytest.mark.parametrize("name", ["", "users", "/#/consul/dc1/users", scope_collection("r").removesuffix("/*")])
def test_other_names_are_no_scopes(name: str) -> None:
    assert parse_scope(name) is None


def test_bytes_that_are_no_text_make_no_scope() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        scope_resource("r", "\udcff")


@given(st.lists(st.text("ab._/", min_size=1), unique=True))
def test_stat_names_have_no_dots_and_stay_apart(clusters: list[str]) -> None:
    stats = [stat_name(cluster) for cluster in clusters]
    assert len(set(stats)) == len(clusters)
    assert not any("." in stat for stat in stats)


def test_a_stat_name_without_dots_is_the_cluster_itself() -> None:
    assert stat_name("/#/consul/dc1/users") == "/#/consul/dc1/users"
    assert stat_name("/$/inet/10.0.0.1/80").startswith("/$/inet/10_0_0_1/80_")


@pytest.mark.parametrize(
    ("authority", "key"), [("users", "users"), ("users:8080", "users"), ("Users", "Users"), ("[::1]:80", "["), ("", "")]
)
def test_the_key_is_what_stands_before_the_first_colon(authority: str, key: str) -> None:
    assert scope_key(authority) == key
