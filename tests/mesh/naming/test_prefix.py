from __future__ import annotations

from mesh.naming.prefix import WILDCARD, Index


def test_the_order_of_entries_decides_never_the_length_of_a_prefix() -> None:
    index = Index([(("a", "b"), 0), (("a",), 1), ((), 2), ((WILDCARD, "b"), 3), (("a", "b"), 4), (("c",), 5)])
    assert index.scan(("a", "b", "c"))[0] == [4, 3, 2, 1, 0]
    assert index.scan(("a",))[0] == [2, 1]
    assert index.scan(())[0] == [2]


def test_a_wildcard_stands_for_exactly_one_segment_and_is_not_the_literal_star() -> None:
    index = Index([((WILDCARD,), 0), (("*",), 1)])
    assert index.scan(("a",))[0] == [0]
    assert index.scan(("*",))[0] == [1, 0]
    assert index.scan(())[0] == []


def test_what_matches_in_many_ways_costs_more_to_find() -> None:
    prefixes = [tuple(WILDCARD if n >> bit & 1 else "a" for bit in range(8)) for n in range(256)]
    index = Index([(prefix, place) for place, prefix in enumerate(prefixes)])
    assert index.scan(("a",) * 8)[1] > 256 > index.scan(("b",) * 8)[1]
