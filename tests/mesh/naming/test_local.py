from __future__ import annotations

import pytest

from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab
from mesh.naming.local import local_dtab


def test_the_context_comes_before_the_user_whatever_the_order_of_the_headers() -> None:
    headers = [("L5D-Dtab", "/a => /d"), ("host", "x"), ("l5d-ctx-dtab", "/a => /c;")]
    assert local_dtab(headers) == parse_dtab("/a=>/c;/a=>/d")


@pytest.mark.parametrize(
    "headers",
    [[("l5d-dtab", "/a => /b"), ("l5d-dtab", "/c => /d")], [("l5d-dtab", "/a => /b, /c => /d")]],
    ids=["twice", "joined by a proxy"],
)
def test_repeated_headers_are_one_table(headers: list[tuple[str, str]]) -> None:
    assert local_dtab(headers) == parse_dtab("/a => /b; /c => /d")


def test_no_header_is_an_empty_table() -> None:
    assert local_dtab([("dtab-local", "/a => /b"), ("l5d-dtab", "")]) == Dtab()


def test_an_unreadable_table_is_a_syntax_error_that_names_the_header() -> None:
    with pytest.raises(DtabSyntaxError, match=r"^header l5d-dtab, line 1, column 1: .* '\[i\] am not a dtab'$"):
        local_dtab([("l5d-dtab", "i am not a dtab")])


def test_a_dentry_knows_the_header_it_came_from() -> None:
    assert local_dtab([("l5d-dtab", "/a => /b")]).dentries[0].where == "header l5d-dtab"
