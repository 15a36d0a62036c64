from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path, PathSyntaxError
from mesh.naming.pattern import Pattern, substitute


@pytest.mark.parametrize(
    ("pattern", "path", "captured"),
    [
        ("/foo/bar", "/foo/bar", {}),
        ("/foo/bar", "/foo/goo", None),
        ("/foo/{A}/*/{B}", "/foo/boo/bar/bas", {"A": "boo", "B": "bas"}),
        ("/foo/{A}/*/{B}:http", "/foo/boo/bar/bas:http", {"A": "boo", "B": "bas"}),
        ("/foo/{A}:http", "/foo/bar/bas:http", None),
        ("/foo/{A}.com/{B}", "/foo/foo.com/80", {"A": "foo", "B": "80"}),
        ("/foo/{A}.com", "/foo/fooxcom", None),
        ("/foo/{A}.{B}.{C}/{D}", "/foo/a.b.c.d/80", {"A": "a.b", "B": "c", "C": "d", "D": "80"}),
        ("/{A}:http", "/web:https", {"A": "web"}),
        ("/{A}{B}", "/ab", {"A": "ab", "B": ""}),
        ("/x{A}", "/ax", {"A": ""}),
        ("/*/{A}", "/only", None),
        ("/{A}", r"/a\x20b", {"A": r"\x61\x20\x62"}),
        ("/", "/any", {}),
        ("", "/any", {}),
    ],
)
def test_captures_are_linkerds(pattern: str, path: str, captured: dict[str, str] | None) -> None:
    assert Pattern(pattern).captures(Path.parse(path)) == captured


LITERALS = st.lists(st.text("ab.", max_size=2), min_size=2, max_size=5)


@given(LITERALS, st.text("ab.", min_size=1, max_size=9))
def test_captures_are_those_of_the_regular_expression(literals: list[str], segment: str) -> None:
    names = [f"n{at}" for at in range(len(literals) - 1)]
    text = literals[0] + "".join(f"{{{name}}}{literal}" for name, literal in zip(names, literals[1:], strict=True))
    found = re.search("(.*)".join(map(re.escape, literals)), segment)
    expected = dict(zip(names, found.groups(), strict=True)) if found else None
    assert Pattern("/" + text).captures((segment,)) == expected


def test_a_long_segment_is_matched_as_fast_as_a_short_one() -> None:
    assert Pattern("/{a}-{b}-{c}-{d}!").captures(("-" * 60_000,)) is None


def test_a_rewrite_fills_in_the_captures_and_drops_the_rest() -> None:
    assert Pattern("/{A}/*").rewrite(Path.parse("/a/b/c/d"), "/x/{A}") == Path.parse("/x/a")
    assert Pattern("/{A}/z").rewrite(Path.parse("/a/b"), "/x/{A}") is None
    with pytest.raises(PathSyntaxError):
        Pattern("/{A}").rewrite(Path.parse("/a"), "/{B}")


def test_what_was_not_captured_stays_as_it_is_written() -> None:
    assert substitute("/{A}/{B}", {"A": "{B}"}) == "/{B}/{B}"
