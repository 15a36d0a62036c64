from __future__ import annotations

import pytest
from hypothesis import given

from discovery.path import Path
from mesh.naming.dtab import parse_tree
from mesh.naming.evaluate import evaluate
from mesh.naming.tree import Alt, NameTree, Union
from tests.mesh.naming import strategies


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("~", None),
        ("!", None),
        ("$", set()),
        ("/ok", {"/ok"}),
        ("/ok & /ok1", {"/ok", "/ok1"}),
        ("/ok & ~ & /blah & $", {"/ok", "/blah"}),
        ("/ok & !", {"/ok"}),
        ("$ & $", set()),
        ("~ | /foo | /bar", {"/foo"}),
        ("~ | /ok | !", {"/ok"}),
        ("(! & !) | /a", {"/a"}),
    ],
)
def test_trees_evaluate_as_in_finagle(text: str, values: set[str] | None) -> None:
    expected = None if values is None else {Path.parse(value) for value in values}
    assert evaluate(parse_tree(text)) == expected


@given(strategies.trees)
def test_one_branch_alone_evaluates_as_itself(tree: NameTree[Path]) -> None:
    assert evaluate(Alt((tree,))) == evaluate(tree)


def test_no_branch_is_no_name() -> None:
    assert evaluate(Alt(())) is None
    assert evaluate(Union(())) is None
