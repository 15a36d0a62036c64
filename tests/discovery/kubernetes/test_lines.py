from __future__ import annotations

import itertools

import pytest

from discovery.kubernetes.lines import Lines, TooLong

TEXT = b'{"a":1}\n\n{"b":"\xc3\xa4"}\r\n{"c":3}\n{"half'


@pytest.mark.parametrize("cuts", [0, 1, 2])
def test_lines_are_the_same_however_they_are_cut(cuts: int) -> None:
    for places in itertools.combinations(range(1, len(TEXT)), cuts):
        lines = Lines()
        edges = [0, *places, len(TEXT)]
        found = [line for start, end in itertools.pairwise(edges) for line in lines.feed(TEXT[start:end])]
        assert [line.strip() for line in found] == [b'{"a":1}', '{"b":"ä"}'.encode(), b'{"c":3}'], places


def test_bytes_one_by_one_make_lines_too() -> None:
    lines = Lines()
    assert [line for byte in b"ab\nc\n" for line in lines.feed(bytes([byte]))] == [b"ab", b"c"]


def test_half_a_line_at_the_end_is_no_line() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntw") == [b"one"]
    assert lines.feed(b"o") == []
    assert lines.feed(b"\n") == [b"two"]


def test_a_line_that_does_not_end_is_refused() -> None:
    lines = Lines(most=4)
    assert lines.feed(b"12345\n1234") == [b"12345"]
    with pytest.raises(TooLong, match="more than 4 bytes"):
        lines.feed(b"5")
