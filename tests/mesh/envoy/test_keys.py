"""The key of a request, as Envoy computes it and as the brain reads it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from discovery.path import Path
from mesh.envoy.keys import HOST_FORM, Copy, Fragment, fragments, key_form
from mesh.naming.identifiers import Header, HeaderToken, Host, Identifier, MethodAndHost, Part, Static, UriPath

SEVERAL = [Header(), UriPath(2), Host(), MethodAndHost(), UriPath(1)]


def test_the_host_is_taken_from_the_request_itself() -> None:
    assert HOST_FORM.fragments == (Fragment(Part(":authority", ":"), ":authority"),)
    assert HOST_FORM.copies == ()


@pytest.mark.parametrize(
    ("by", "carriers"),
    [
        (Header("L5d-Name"), ["l5d-name"]),
        (HeaderToken(), [":authority"]),
        (MethodAndHost(), [":method", ":authority"]),
        (Static(Path(("web",))), [":scheme"]),
    ],
)
def test_one_identifier_of_headers_needs_no_copy(by: Identifier, carriers: list[str]) -> None:
    form = key_form([by])
    assert [each.carrier for each in form.fragments] == carriers
    assert form.copies == ()


@pytest.mark.parametrize(
    ("identifiers", "copies"),
    [
        ([UriPath()], ["%PATH(NQ)%/"]),
        ([UriPath(3)], ["%PATH(NQ)%///"]),
        ([Header(), Host()], ["%REQ(L5D-NAME)%", "%REQ(:AUTHORITY)%"]),
        (SEVERAL, ["%REQ(L5D-NAME)%", "%PATH(NQ)%//", "%REQ(:AUTHORITY)%", "%REQ(:METHOD)%", "%REQ(:AUTHORITY)%"]),
    ],
)
def test_others_are_computed_from_copies_that_are_always_there(
    identifiers: Sequence[Identifier], copies: list[str]
) -> None:
    form = key_form(identifiers)
    assert form.copies == tuple(Copy(f"x-tieline-key-{number}", value) for number, value in enumerate(copies))
    assert {each.carrier for each in form.fragments} == {each.header for each in form.copies}


def test_a_part_that_two_identifiers_look_at_is_one_fragment() -> None:
    assert len(key_form(SEVERAL).fragments) == len({*Header().parts, *UriPath(2).parts, *Host().parts}) + 2


HEADERS = {
    "x-tieline-key-0": "/users",
    "x-tieline-key-1": "/a/b/c//",
    "x-tieline-key-2": "Web:80",
    "x-tieline-key-3": "GET",
    "x-tieline-key-4": "Web:80",
}


def test_a_key_says_what_the_request_said_and_no_more_of_its_path() -> None:
    form = key_form(SEVERAL)
    key = form.key(form.said(HEADERS))
    assert fragments(key) == ["/users", "a", "b", "Web", "GET", "Web:80"]
    assert form.parsed(key) == form.said(HEADERS)


def test_headers_can_be_made_for_a_key() -> None:
    form = key_form(SEVERAL)
    for headers in (HEADERS, {}, {"x-tieline-key-1": "/a"}, {"x-tieline-key-2": "host"}):
        key = form.key(form.said(headers))
        assert form.key(form.said(form.headers(key))) == key
    assert key_form([Header()]).headers("/users") == {"l5d-name": "/users"}


def test_a_key_of_another_form_is_none() -> None:
    assert HOST_FORM.parsed("a\nb") is None
    assert key_form(SEVERAL).parsed("users") is None
