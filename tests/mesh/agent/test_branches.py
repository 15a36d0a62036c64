from __future__ import annotations

from collections.abc import Mapping

from discovery.address import Endpoint
from discovery.path import Path
from mesh.agent.branches import branches
from mesh.naming.tree import Alt, BoundName, BoundTree, Empty, Leaf, Union, Weighted


def leaf(name: str) -> BoundTree:
    return Leaf(BoundName(Path((name,))))


def split(*pairs: tuple[float, BoundTree]) -> BoundTree:
    return Union(tuple(Weighted(weight, tree) for weight, tree in pairs))


def shown(tree: BoundTree, known: Mapping[str, str]) -> list[tuple[int, str, int, str]]:
    """Priority, name, weight, endpoints; each endpoint is a letter."""

    def endpoints(id: Path) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(letter, 1) for letter in known[id[0]])

    return [
        (each.priority, each.id[0], each.weight, "".join(endpoint.address for endpoint in each.endpoints))
        for each in branches(tree, endpoints)
    ]


def test_one_name_has_all() -> None:
    assert shown(leaf("a"), {"a": "xy"}) == [(0, "a", 1, "xy")]


def test_shares_of_a_split_and_of_a_split_in_it() -> None:
    tree = split((1, leaf("a")), (1, split((3, leaf("b")), (1, leaf("c")))))
    assert [each[:3] for each in shown(tree, {"a": "x", "b": "y", "c": "z"})] == [
        *((0, "a", 4), (0, "b", 3), (0, "c", 1)),
    ]


def test_an_instance_of_two_branches_counts_in_the_first() -> None:
    tree = split((1, leaf("a")), (1, leaf("b")))
    assert shown(tree, {"a": "xy", "b": "yz"}) == [(0, "a", 1, "xy"), (0, "b", 1, "z")]


def test_what_is_written_as_nothing_has_no_branch() -> None:
    assert shown(split((1, leaf("a")), (1, Empty())), {"a": "x"}) == [(0, "a", 1, "x")]


def test_what_stands_by_comes_in_order_and_without_what_comes_before() -> None:
    tree: BoundTree = Alt((leaf("a"), leaf("b"), leaf("c")))
    assert shown(tree, {"a": "x", "b": "xy", "c": "yz"}) == [(0, "a", 1, "x"), (1, "b", 1, "y"), (2, "c", 1, "z")]


def test_a_branch_of_a_split_that_stands_by_for_another_stays_a_branch() -> None:
    tree = split((2, Alt((leaf("a"), leaf("b")))), (1, leaf("b")))
    assert shown(tree, {"a": "x", "b": "y"}) == [(0, "a", 2, "x"), (0, "b", 1, "y")]
