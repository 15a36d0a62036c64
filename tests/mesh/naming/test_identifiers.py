"""Each kind of identifier: the parts it looks at, the name it takes from them, and the one way to ask for a name."""

from __future__ import annotations

import pytest

from discovery.path import Path
from mesh.naming.identifiers import (
    Header,
    HeaderToken,
    Host,
    Identifier,
    MethodAndHost,
    Part,
    Static,
    UriPath,
)
from mesh.naming.identify import Unidentified

SVC = Path(("svc", "x"))


def said(by: Identifier, *values: str) -> dict[Part, str]:
    return dict(zip(by.parts, values, strict=True))


@pytest.mark.parametrize(
    ("by", "values", "path"),
    [
        (Host(), ("Users.",), "/svc/x/users"),
        (Header(), ("/users/v2",), "/svc/x/users/v2"),
        (Header(), (" /users # the old ones",), "/svc/x/users"),
        (HeaderToken("x-service"), ("Users:80",), "/svc/x/Users:80"),
        (UriPath(), ("users",), "/svc/x/users"),
        (UriPath(2), ("users", "v2"), "/svc/x/users/v2"),
        (UriPath(3, consume=True), ("a", "b", "c"), "/svc/x/a/b/c"),
        (MethodAndHost(), ("GET", "Web:80"), "/svc/x/1.1/GET/web:80"),
        (Static(Path(("a", "b"))), ("http",), "/svc/x/a/b"),
    ],
)
def test_a_name_can_be_asked_for_in_one_plain_way(by: Identifier, values: tuple[str, ...], path: str) -> None:
    found = by.identify(said(by, *values), SVC)
    assert found == Path.parse(path)
    plain = dict.fromkeys(by.parts, "") | dict(by.plain(found, SVC))
    assert by.identify(plain, SVC) == found
    assert by.plain(found, SVC) == {part: plain[part] for part in by.plain(found, SVC)}


@pytest.mark.parametrize(
    ("by", "values"),
    [
        (Host(), ("",)),
        (Host(), ("a b",)),
        (Header(), ("",)),
        (Header(), ("users",)),
        (HeaderToken(), ("",)),
        (UriPath(), ("",)),
        (UriPath(2), ("a", "")),
        (UriPath(2), ("", "b")),
        (MethodAndHost(), ("GET", "")),
    ],
)
def test_what_identifies_nothing_says_why_and_what_to_send(by: Identifier, values: tuple[str, ...]) -> None:
    found = by.identify(said(by, *values), SVC)
    assert isinstance(found, Unidentified)
    assert found.reason
    assert by.wish.endswith(".")


def test_the_host_is_a_header_like_others_for_those_that_name_one() -> None:
    assert HeaderToken("Host").parts == Header("host").parts == (Part(":authority"),)
    assert Header("L5d-Name").parts == (Part("l5d-name"),)
    assert Host().parts == (Part(":authority", ":"),)
