from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.marathon.elements import Broken, elements, value

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
OTHERS = st.dictionaries(st.text().filter(lambda key: key != "apps"), SCALARS, max_size=2)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 1]), OTHERS)
def test_it_reads_what_json_reads(array: list[object], indent: int | None, others: dict[str, object]) -> None:
    for whole in ({"apps": array, **others}, {**others, "apps": array}):
        assert list(elements(json.dumps(whole, indent=indent), "apps")) == whole["apps"]


@settings(deadline=None)
@given(st.lists(VALUES, max_size=5))
def test_no_beginning_of_a_text_is_taken_for_the_whole(array: list[object]) -> None:
    text = json.dumps({"apps": array})
    for end in range(len(text)):
        with pytest.raises(Broken):
            list(elements(text[:end], "apps"))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "Expecting value at character 1, where the text ends"),
        ("<html>", "Expecting value at character 1"),
        ("[]", "an object with a list `apps` expected"),
        ('{"apps": {}}', "an object with a list `apps` expected"),
        ('{"apps": null}', "an object with a list `apps` expected"),
        ('{"message": "no"}', "an object with a list `apps` expected"),
        ('{"apps": [{"id": 1}, {"id"', "Expecting ':' delimiter at character 27, where the text ends"),
        ('{"apps": [1 2]}', "',' or ']' expected at character 13"),
        ('{"apps": [1,]}', "Expecting value at character 13"),
        ('{"apps": [1]', "where the text ends"),
        ('{"apps": [1]} {"apps": []}', "Extra data"),
        ('{"apps": [' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_the_place_is_named(text: str, where: str) -> None:
    with pytest.raises(Broken) as raised:
        list(elements(text, "apps"))
    assert where in str(raised.value)


def test_a_single_value_is_read_whole() -> None:
    assert value('{"a": [1]}') == {"a": [1]}
    with pytest.raises(Broken, match="nested too deeply"):
        value("[" * 100_000)
