from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.identity.spiffe import NotSpiffe, SpiffeId

_DOMAINS = st.from_regex(r"[a-z0-9._-]{1,60}", fullmatch=True)
_SEGMENTS = st.from_regex(r"[A-Za-z0-9._-]{1,30}", fullmatch=True).filter(lambda each: each not in (".", ".."))


@given(_DOMAINS, st.lists(_SEGMENTS, max_size=6))
def test_parse_and_show_are_inverse(domain: str, path: list[str]) -> None:
    id = SpiffeId.of(domain, *path)
    assert SpiffeId.parse(str(id)) == id


def test_hosts_and_services_have_their_place() -> None:
    assert str(SpiffeId.host("example.org", "web-1")) == "spiffe://example.org/host/web-1"
    assert str(SpiffeId.service("example.org", "users")) == "spiffe://example.org/service/users"
    assert str(SpiffeId.service("example.org", "/svc/users")) == "spiffe://example.org/service/svc/users"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://example.org/x", "begins with spiffe://"),
        ("SPIFFE://example.org/x", "begins with spiffe://"),
        ("spiffe://", "a trust domain is made of"),
        ("spiffe://Example.org/x", "a trust domain is made of"),
        ("spiffe://example.org:80/x", "a trust domain is made of"),
        ("spiffe://user@example.org/x", "a trust domain is made of"),
        ("spiffe://example.org/", "an empty segment"),
        ("spiffe://example.org//x", "an empty segment"),
        ("spiffe://example.org/x/", "an empty segment"),
        ("spiffe://example.org/x/../y", "'..' can't be a segment"),
        ("spiffe://example.org/./y", "'.' can't be a segment"),
        ("spiffe://example.org/%2e%2e/y", "a segment of a SPIFFE id is made of"),
        ("spiffe://example.org/x?a=b", "a segment of a SPIFFE id is made of"),
        ("spiffe://example.org/ä", "a segment of a SPIFFE id is made of"),
        ("spiffe://" + "a" * 256 + "/x", "at most 255 characters"),
        ("spiffe://example.org/" + "a" * 2048, "longer than 2048 bytes"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(NotSpiffe) as caught:
        SpiffeId.parse(text)
    assert why in str(caught.value)


@given(st.text())
def test_whatever_comes_it_is_one_or_it_is_refused(text: str) -> None:
    try:
        assert str(SpiffeId.parse("spiffe://" + text)) == "spiffe://" + text
    except NotSpiffe:
        return
