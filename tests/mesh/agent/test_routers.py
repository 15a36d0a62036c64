"""Which name a request asks for, and the key by which Envoy finds what was bound for it."""

from __future__ import annotations

import pytest

from discovery.path import Path
from mesh.agent.routers import Identified, Router
from mesh.envoy.names import parse_scope, scope_resource
from mesh.naming.identifiers import Header, HeaderToken, Host, MethodAndHost, UriPath
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
    assert identified == Identified(("http", key), Path(("svc", label)), ("http", label))
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
    path = Path(("svc", "other", "users"))
    assert other.identify({":authority": "users"}) == Identified(("other", "users"), path, ("other", "users"))
    assert scope_resource("http", "users") != scope_resource("other", "users")


PATH_2 = UriPath(2, consume=True)
SEVERAL = Router("http", Path(("svc",)), (Header(), PATH_2, Host()))


def test_the_first_identifier_that_identifies_wins_and_the_key_tells_all_they_look_at() -> None:
    sent = {"x-tieline-key-0": "/users", "x-tieline-key-1": "/a/b/c//", "x-tieline-key-2": "Web:80"}
    for changed, path, plain, consumed in [
        ({}, "/svc/users", "/users\n\n\n", 0),
        ({"x-tieline-key-0": "no path"}, "/svc/a/b", "\na\nb\n", 2),
        ({"x-tieline-key-0": "", "x-tieline-key-1": "/a//"}, "/svc/web", "\n\n\nweb", 0),
    ]:
        identified = SEVERAL.identify({**sent, **changed})
        assert isinstance(identified, Identified)
        assert (identified.path, identified.plain) == (Path.parse(path), ("http", plain))
        assert identified.consumed == consumed
        assert SEVERAL.adopt(identified.key[1]) == identified
        again = SEVERAL.identify({**sent, **SEVERAL.rewritten(plain, sent)})
        assert isinstance(again, Identified)
        assert (again.key, again.path, again.consumed) == (identified.plain, identified.path, consumed)


def test_none_that_identifies_says_each_reason_once_and_what_could_be_sent() -> None:
    router = Router("http", Path(("svc",)), (Header(), Header(), UriPath()))
    assert router.identify({}) == Unidentified(
        "the request has no l5d-name header; the path of the request has fewer than 1 segments"
    )
    assert router.wish.endswith(" Or: Begin the path of the request with the name of a service.")


def test_what_is_not_utf_8_fits_into_no_key() -> None:
    router = Router("http", Path(("svc",)), (HeaderToken("x-service"),))
    assert router.identify({"x-service": "\udcff"}) == Unidentified("what identifies the request is not UTF-8")


def test_a_key_of_earlier_identifiers_is_not_adopted() -> None:
    assert isinstance(SEVERAL.adopt("users"), Unidentified)
    assert isinstance(ROUTER.adopt("a\nb"), Unidentified)


def test_only_headers_that_differ_are_rewritten() -> None:
    router = Router("http", Path(("svc",)), (MethodAndHost(),))
    assert router.rewritten("GET\nweb", {":method": "GET", ":authority": "WEB"}) == {":authority": "web"}


def test_a_bare_name_stands_for_the_same_on_every_router() -> None:
    assert SEVERAL.named("Users") == ROUTER.named("users") == Path(("svc", "users"))
    assert isinstance(SEVERAL.named("a b"), Unidentified)
