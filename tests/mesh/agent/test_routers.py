"""Which name a request asks for, and the key by which Envoy finds what was bound for it."""

from __future__ import annotations

import pytest

from discovery.path import Path
from mesh.agent.routers import Identified, Router
from mesh.envoy.names import parse_scope, scope_resource
from mesh.naming.identify import Unidentified

ROUTER = Router("http", Path(("svc",)))


@pytest.mark.parametrize(
    ("authority", "key", "label"),
    [
        ("users", "users", "users"),
        ("users:4140", "users", "users"),
        ("Users", "Users", "users"),
        ("users.", "users.", "users"),
        ("users.prod.example.com", "users.prod.example.com", "users.prod.example.com"),
        ("10.0.0.1:80", "10.0.0.1", "10.0.0.1"),
        ("a" * 253, "a" * 253, "a" * 253),
    ],
)
def test_a_host_has_a_name_and_the_key_that_envoy_takes_for_it(authority: str, key: str, label: str) -> None:
    identified = ROUTER.identify({":authority": authority})
    assert identified == Identified(("http", key), Path(("svc", label)))
    assert parse_scope(scope_resource("http", key)) == ("http", key)


@pytest.mark.parametrize(
    "authority", ["", ".", ":80", "[::1]", "a b", "a/b", "a@b", "a,b", "ü", "\udcff", "a\x00b", "%41"]
)
def test_what_is_no_host_name_names_nothing(authority: str) -> None:
    assert isinstance(ROUTER.identify({":authority": authority}), Unidentified)


def test_a_request_without_authority_names_nothing() -> None:
    assert isinstance(ROUTER.identify({}), Unidentified)


def test_every_router_has_its_own_prefix_and_keys() -> None:
    other = Router("other", Path(("svc", "other")))
    assert other.identify({":authority": "users"}) == Identified(("other", "users"), Path(("svc", "other", "users")))
    assert scope_resource("http", "users") != scope_resource("other", "users")
