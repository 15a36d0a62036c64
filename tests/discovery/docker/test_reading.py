import json

import pytest
from pydantic import TypeAdapter

from discovery.docker.reading import Malformed, checked, entries


@pytest.mark.parametrize("values", [[], [1], [{"a": [1, "]"]}, None, "x"]])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_members_of_an_array(values: list[object], indent: int | None) -> None:
    assert list(entries(json.dumps(values, indent=indent) + "\n")) == values


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "a list expected"),
        ('{"message": "no"}', "a list expected"),
        ("[", "can't be read at character 1"),
        ('[{"a": 1', "can't be read at character 1"),
        ('[{"a": 1}', "breaks off after 9 characters"),
        ('[{"a": 1} {}]', "breaks off after 10 characters"),
        ('[{"a": 1},]', "can't be read at character 10"),
        ("[] x", "more follows after the list's end"),
    ],
)
def test_half_an_array_is_told_with_its_place(body: str, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        list(entries(body))


def test_what_is_of_another_shape_is_told_with_its_place() -> None:
    shape = TypeAdapter(dict[str, list[int]])
    assert checked(shape, {"a": [1]}) == {"a": [1]}
    with pytest.raises(Malformed, match=r"\[3\].a.1: Input should be a valid integer"):
        checked(shape, {"a": [1, "2"]}, "[3]")
    with pytest.raises(Malformed, match=r"^Input should be a valid dictionary$"):
        checked(shape, 1)
