from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.config import document
from mesh.config.document import Position


def place(text: str, offset: int) -> Position:
    return document.read(text).within(("dtab",), offset)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        pytest.param("dtab: /a => b\n", Position(1, 13), id="plain"),
        pytest.param("dtab: '/a => b'\n", Position(1, 14), id="single quotes"),
        pytest.param('dtab: "/a => b"\n', Position(1, 14), id="double quotes"),
        pytest.param("dtab: |\n  /a => b\n", Position(2, 9), id="literal block"),
        pytest.param("dtab: |2- # the table\n\n    /a => b\n", Position(3, 11), id="literal block with an indicator"),
        pytest.param("dtab: >\n  /a\n  => b\n", Position(3, 6), id="folded block"),
        pytest.param("dtab: /a\n  => b\n", Position(2, 6), id="plain over two lines"),
        pytest.param('dtab: "/\\x61 => b"\n', Position(1, 7), id="escapes can't be followed"),
    ],
)
def test_a_character_of_a_text_is_found_in_the_file(text: str, position: Position) -> None:
    value = document.read(text).value
    assert isinstance(value, dict)
    assert place(text, str(value["dtab"]).index("b")) == position


def test_an_offset_behind_the_end_is_the_end_of_the_text() -> None:
    assert place("dtab: |\n  /a =>\n\nother: 1\n", 99) == Position(2, 8)


@given(st.lists(st.text("ab/=>;| #", min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=5), st.data())
def test_every_character_of_a_block_is_found(lines: list[str], data: st.DataObject) -> None:
    lines = [line.strip() for line in lines]
    text = "dtab: |\n" + "".join(f"    {line}\n" for line in lines)
    value = "".join(f"{line}\n" for line in lines)
    assert document.read(text).value == {"dtab": value}
    offset = data.draw(st.sampled_from([index for index, each in enumerate(value) if not each.isspace()]))
    position = place(text, offset)
    assert text.splitlines()[position.line - 1][position.column - 1] == value[offset]


def test_words_are_those_of_the_core_schema() -> None:
    read = document.read("[on, no, 12:30, 2001-01-01, 1_000, true, ~, 0x10, 0o17, 017, 1e3, .5, '1', 1.0]")
    assert read.value == [
        *("on", "no", "12:30", "2001-01-01", "1_000"),
        *(True, None, 16, 15, 17, 1000.0, 0.5, "1", 1.0),
    ]


def test_aliases_can_not_grow_without_bound() -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    [flaw] = document.read("\n".join(lines)).flaws
    assert flaw.message == "more than 100000 values"


def test_deep_nesting_is_a_flaw() -> None:
    [flaw] = document.read("[" * 5000).flaws
    assert flaw.message == "values nested too deeply"


@given(st.text("ab:- \n\t'\"[]{},&*!|>#%@`?~<1.\\\0\x85\ufeff", max_size=40))
def test_any_text_gives_a_value_or_flaws_with_places(text: str) -> None:
    read = document.read(text)
    assert all(flaw.position.line >= 1 and flaw.position.column >= 1 for flaw in read.flaws)
