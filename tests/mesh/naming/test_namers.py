from __future__ import annotations

import pytest

from discovery.address import Bound, Endpoint, Failed, Known, Neg, Pending, State, bound
from discovery.path import Path
from mesh.naming.bind import LINKERD, Binding, Broken, Namer, Options, Waiting, bind
from mesh.naming.dtab import parse_dtab
from mesh.naming.namers import LongestNamer, RewriteNamer, SourceNamer
from mesh.naming.tree import BoundName, Leaf
from mesh.naming.tree import Neg as NoName

LIVE = Known(bound([Endpoint("10.0.0.1", 80)]), 0, 0)
PREFIX = Path(("#", "x"))
TIELINE = Options()


def bound_by(namer: Namer, path: str, known: dict[str, State], table: str = "", options: Options = TIELINE) -> Binding:
    states = {Path.parse(name): state for name, state in known.items()}
    return bind(
        parse_dtab(table), Path.parse(path), [namer], lambda path: states.get(path, Known(Neg(), 0, 0)), options
    )


def test_a_source_takes_its_segments_and_leaves_the_rest() -> None:
    namer = SourceNamer(PREFIX, 2)
    found = bound_by(namer, "/#/x/dc1/web/v2/list", {"/#/x/dc1/web": LIVE})
    assert found.tree == Leaf(BoundName(Path.parse("/#/x/dc1/web"), Path.parse("/v2/list")))
    assert found.wanted == {Path.parse("/#/x/dc1/web")}


def test_a_source_with_too_few_segments_is_missing_and_says_so() -> None:
    found = bound_by(SourceNamer(PREFIX, 2), "/#/x/dc1", {})
    assert (found.tree, found.wanted) == (NoName(), frozenset())
    assert "2 segments" in found.trace.reason


def test_a_source_without_segments_is_one_name() -> None:
    found = bound_by(SourceNamer(PREFIX, 0), "/#/x/a", {"/#/x": Known(Bound(), 0, 0)})
    assert found.tree == Leaf(BoundName(PREFIX, Path(("a",))))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"/#/x/a": LIVE, "/#/x/a/b": LIVE}, ("/#/x/a/b", "/c")),
        ({"/#/x/a": LIVE}, ("/#/x/a", "/b/c")),
        ({"/#/x/a": LIVE, "/#/x/a/b": Failed("dark")}, ("/#/x/a", "/b/c")),
    ],
)
def test_the_longest_name_that_exists_wins(known: dict[str, State], expected: tuple[str, str]) -> None:
    found = bound_by(LongestNamer(PREFIX), "/#/x/a/b/c", known)
    assert found.tree == Leaf(BoundName(Path.parse(expected[0]), Path.parse(expected[1])))
    assert found.wanted == {Path.parse(name) for name in ("/#/x/a", "/#/x/a/b", "/#/x/a/b/c")}


def test_a_longer_name_that_has_not_answered_holds_back_a_shorter_one() -> None:
    found = bound_by(LongestNamer(PREFIX), "/#/x/a/b", {"/#/x/a": LIVE, "/#/x/a/b": Pending()})
    assert isinstance(found.tree, Waiting)
    assert found.tree.paths == {Path.parse("/#/x/a/b")}


def test_a_dark_platform_is_missing_or_an_error_as_the_options_say() -> None:
    dark: dict[str, State] = {"/#/x/a": Failed("dark")}
    assert bound_by(LongestNamer(PREFIX), "/#/x/a", dark).tree == NoName()
    assert isinstance(bound_by(LongestNamer(PREFIX), "/#/x/a", dark, options=LINKERD).tree, Broken)


def test_only_so_many_segments_are_asked_for() -> None:
    found = bound_by(LongestNamer(PREFIX, deepest=3), "/#/x" + "/a" * 1000, {})
    assert {len(path) for path in found.wanted} == {3, 4, 5}


def test_a_rewrite_goes_through_the_table_again() -> None:
    namer = RewriteNamer(PREFIX, "/{service}/{zone}", "/zones/{zone}/{service}")
    known: dict[str, State] = {"/$/inet/host/80": LIVE}
    found = bound_by(namer, "/#/x/web/eu/dropped", known, "/zones => /$/inet/host/80")
    assert found.tree == Leaf(BoundName(Path.parse("/$/inet/host/80"), Path.parse("/eu/web")))


def test_a_rewrite_that_does_not_match_is_missing() -> None:
    found = bound_by(RewriteNamer(PREFIX, "/{a}/b", "/{a}"), "/#/x/a/c", {})
    assert found.tree == NoName()
    assert "does not match /{a}/b" in found.trace.reason


def test_a_rewrite_that_makes_no_path_is_an_error() -> None:
    found = bound_by(RewriteNamer(PREFIX, "/{a}", "/{b}"), "/#/x/a", {})
    assert isinstance(found.tree, Broken)
    assert found.tree.kind == "namer_failed"
    assert "/{b}" in found.tree.reason
