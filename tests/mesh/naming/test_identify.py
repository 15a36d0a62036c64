from __future__ import annotations

import pytest

from discovery.path import Path
from mesh.naming import identify
from mesh.naming.identify import Consumed, Unidentified

SVC = Path(("svc",))


@pytest.mark.parametrize(
    ("authority", "path"),
    [
        ("users", "/svc/users"),
        ("Users:8080", "/svc/users"),
        ("users.prod.example.com.", "/svc/users.prod.example.com"),
        ("my_service", "/svc/my_service"),
        ("10.0.0.1:80", "/svc/10.0.0.1"),
    ],
)
def test_the_host_names_the_service(authority: str, path: str) -> None:
    assert identify.host(authority, SVC) == Path.parse(path)


@pytest.mark.parametrize(
    ("authority", "reason"),
    [
        ("", "no Host header"),
        ("[::1]:80", "IPv6"),
        ("::1", "no host name"),
        (":80", "no host name"),
        (".", "no host name"),
        ("a/b", "no host name"),
        ("a b", "no host name"),
        ("üser", "no host name"),
        ("x" * 10_000 + "!", "…"),
    ],
)
def test_a_host_that_names_no_service_says_why(authority: str, reason: str) -> None:
    found = identify.host(authority, SVC)
    assert isinstance(found, Unidentified)
    assert reason in found.reason
    assert len(found.reason) < 200


def test_a_token_is_taken_as_it_stands() -> None:
    assert identify.token("Users:8080", SVC) == Path(("svc", "Users:8080"))
    assert isinstance(identify.token(None, SVC), Unidentified)


def test_a_header_may_hold_a_path() -> None:
    assert identify.header(" /users/v2 ", SVC) == Path.parse("/svc/users/v2")
    assert identify.header("", SVC) == Unidentified("the request has no l5d-name header")
    wrong = identify.header("users", SVC, "x-name")
    assert isinstance(wrong, Unidentified)
    assert "x-name" in wrong.reason
    assert "[u]sers" in wrong.reason


@pytest.mark.parametrize(
    ("uri", "segments", "path", "rest"),
    [
        ("/users", 1, "/svc/users", "/"),
        ("/users/", 1, "/svc/users", "/"),
        ("/users?all=1", 1, "/svc/users", "/?all=1"),
        ("/users/list/?q=/x", 1, "/svc/users", "/list/?q=/x"),
        ("/a/b/c/d?x", 2, "/svc/a/b", "/c/d?x"),
        ("http://host:80/a/b?x", 1, "/svc/a", "/b?x"),
    ],
)
def test_the_path_names_the_service_and_can_be_consumed(uri: str, segments: int, path: str, rest: str) -> None:
    assert identify.uri_path(uri, SVC, segments) == Path.parse(path)
    assert identify.consumed(uri, SVC, segments) == Consumed(Path.parse(path), rest)


@pytest.mark.parametrize("uri", ["/", "/a", "/a/", "/a//b", "//", "*", "", "http://host", "/a?b/c"])
def test_too_few_segments_name_nothing(uri: str) -> None:
    assert isinstance(identify.uri_path(uri, SVC, 2), Unidentified)
    assert isinstance(identify.consumed(uri, SVC, 2), Unidentified)


def test_method_and_host() -> None:
    assert identify.method_and_host("GET", "Web", SVC) == Path.parse("/svc/1.1/GET/web")
    assert identify.method_and_host("GET", "web", SVC, uri="/a/b?c") == Path.parse("/svc/1.1/GET/web/a/b")
    assert identify.method_and_host("PUT", None, SVC, version="1.0", uri="/a") == Path.parse("/svc/1.0/PUT/a")
    assert isinstance(identify.method_and_host("GET", "", SVC), Unidentified)
