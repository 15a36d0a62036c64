from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.control.api.conditions import Unreadable, precondition, version_number
from mesh.control.version import Content, Version


def version(number: int) -> Version:
    return Version("default", number, 0.0, "x", "", Content("/a => /b"))


@given(st.integers(1, 10**17))
def test_the_etag_of_a_version_is_read_back(number: int) -> None:
    etag = version(number).etag
    assert version_number(etag) == number
    assert precondition(f'"{etag}"', None).holds(version(number))
    assert precondition(etag, None).holds(version(number))
    assert not precondition(f'"{etag}"', None).holds(version(number + 1))
    assert not precondition(None, f'"{etag}"').holds(version(number))


@given(st.text())
def test_whatever_a_header_holds_is_a_condition_or_unreadable(text: str) -> None:
    try:
        condition = precondition(text, text)
    except Unreadable:
        return
    assert not condition.holds(version(1)), "both together hold for nothing"


@pytest.mark.parametrize("etag", ["", "MDE=", "LTE=", "MA==", "MS4w", "nonsense", "MQ", "IDE=", "4pGg"])
def test_what_no_version_has_is_none_of_ours(etag: str) -> None:
    assert version_number(etag) is None


def test_a_deleted_namespace_matches_nothing() -> None:
    gone = Version("default", 3, 0.0, "x", "", None)
    for match in ("*", f'"{gone.etag}"'):
        assert not precondition(match, None).holds(gone)
        assert precondition(None, match).holds(gone)
