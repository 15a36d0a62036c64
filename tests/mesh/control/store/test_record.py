"""A version as it is stored: what comes back, what is refused, what can't be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.control.store import record
from mesh.control.store.protocol import MOST_BYTES, Conflict, Refused, Unreadable
from mesh.control.version import Change, Content, Version

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CONTENTS = st.none() | st.builds(Content, TEXT, TEXT)


@given(st.integers(1, record.MOST_NUMBER), st.floats(0, 1e11), TEXT, TEXT, CONTENTS)
def test_a_version_comes_back_as_it_was(number: int, at: float, who: str, why: str, content: Content | None) -> None:
    version = Version("default", number, at, who, why, content)
    assert record.decode("default", number, "key", record.encode(version, "0" * 32)) == version


@given(TEXT, TEXT, CONTENTS, st.floats(0, 1e10), st.integers(1, record.MOST_NUMBER))
def test_what_was_found_small_enough_is_so_when_it_is_written(
    who: str, why: str, content: Content | None, at: float, number: int
) -> None:
    change = Change(content, who, why)
    longest = Version("default", record.MOST_NUMBER, 1234567890.1234567, who, why, content)
    assert len(record.encode(Version("default", number, round(at, 7), who, why, content), "0" * 32)) <= len(
        record.encode(longest, "0" * 32)
    )
    record.check("default", change)


def test_the_limit_counts_bytes_as_they_are_stored() -> None:
    empty = len(record.encode(Version("a", record.MOST_NUMBER, 1234567890.1234567, "", "", Content("")), "0" * 32))
    record.check("a", Change(Content("x" * (MOST_BYTES - empty)), ""))
    for text in ("x" * (MOST_BYTES - empty + 1), "ü" * (MOST_BYTES // 2), "\n" * (MOST_BYTES // 2)):
        with pytest.raises(Refused, match="380,000"):
            record.check("a", Change(Content(text), ""))


GOOD = b'{"number": 1, "at": 2, "who": "", "why": "", "dtab": null, "policies": "", "of a later version": []}'


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[]", "object"),
        (GOOD.replace(b"1", b"2"), "it says it is version 2"),
        (GOOD.replace(b"1", b"0"), "number"),
        (GOOD.replace(b"1", b'"1"'), "number"),
        (GOOD.replace(b"null", b"7"), "dtab"),
        (GOOD.replace(b'"who": "", ', b""), "who: Field required"),
    ],
)
def test_what_is_no_version_is_told_by_its_key(value: bytes, reason: str) -> None:
    assert record.decode("default", 1, "the/key", GOOD) == Version("default", 1, 2.0, "", "", None)
    with pytest.raises(Unreadable, match=reason) as raised:
        record.decode("default", 1, "the/key", value)
    assert str(raised.value).startswith("the/key is not what Tieline wrote there")


def test_the_next_number_follows_the_last_that_is_known_to_be_taken() -> None:
    change = Change(None, "ann")
    current = Version("default", 4, 0.0, "", "", None)
    assert record.successor("default", None, change, "any", 1.0).number == 1
    assert record.successor("default", current, change, 4, 1.0).number == 5
    assert record.successor("default", current, change, 4, 1.0, last=9).number == 10
    with pytest.raises(Conflict):
        record.successor("default", current, change, 9, 1.0, last=9)
