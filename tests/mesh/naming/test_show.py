from __future__ import annotations

import pytest
from hypothesis import given

from discovery.path import Path
from mesh.naming.dtab import parse_dtab, parse_tree
from mesh.naming.show import show_tree
from mesh.naming.tree import Alt, Leaf, NameTree, Neg, Union, Weighted
from tests.mesh.naming import strategies


@given(strategies.trees)
def test_a_tree_reads_as_it_was_shown(tree: NameTree[Path]) -> None:
    assert parse_tree(show_tree(tree)) == tree


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/a|/b&/c", "/a | /b & /c"),
        ("(/a|/b)&/c", "(/a | /b) & /c"),
        ("/a|(/b|/c)", "/a | (/b | /c)"),
        ("/a&(/b&/c)", "/a & (/b & /c)"),
        ("1*/a&0.5*/b&3.*$", "/a & 0.50*/b & 3.00*$"),
        ("0.333*/a & 0.00000001*/b", "0.333*/a & 0.00000001*/b"),
        ("((/a))", "/a"),
    ],
)
def test_trees_print_as_finagle_prints_them(text: str, shown: str) -> None:
    assert show_tree(parse_tree(text)) == shown


def test_single_branches_and_no_branches_print_as_what_they_mean() -> None:
    leaf = Leaf(Path(("a",)))
    assert show_tree(Alt((Union((Weighted(3.0, leaf),)),))) == "/a"
    assert show_tree(Union((Weighted(1.0, Alt((leaf,))), Weighted(1.0, Neg())))) == "/a & ~"
    assert show_tree(Alt(())) == show_tree(Union(())) == "~"


def test_a_table_prints_in_one_line() -> None:
    assert parse_dtab("/a => /b ;\n/*/c => ! | ~;").show() == "/a=>/b;/*/c=>! | ~"
