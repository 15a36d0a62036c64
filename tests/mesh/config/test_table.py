from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path
from mesh.config.table import Remark, remarks, unknown_sources
from mesh.naming.dtab import parse_dtab


def said(table: str) -> list[str]:
    return [f"{remark.line} {remark.level}: {remark.message}" for remark in remarks(parse_dtab(table))]


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("", id="nothing"),
        pytest.param("/svc => /a; /a => /b", id="a chain"),
        pytest.param("/svc/x => /y ; /svc => /#/files", id="a later entry that may not know the name"),
        pytest.param("/svc => /#/files; /svc/x => !", id="a later entry for some of the names"),
        pytest.param("/svc => (/a | !) & /b", id="one branch of several decides"),
        pytest.param("/svc => ~", id="no name"),
        pytest.param("/svc => /a | !", id="the last alternative decides"),
        pytest.param("/http/* => /host; /host => /http/x/y/z/w | /#/a; /http/x => !", id="a circle that is cut"),
    ],
)
def test_nothing_to_say(table: str) -> None:
    assert said(table) == []


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("/a => /b;\n/b => /a", ["1 error: /a/x is rewritten in a circle, through lines 1, 2"]),
        ("/a => /a/b", ["1 error: /a/x is rewritten in a circle, through line 1"]),
        ("/a/* => /a", []),
        ("/a/* => /a/b", ["1 error: /a/x/x is rewritten in a circle, through line 1"]),
        ("/x => /a;\n/a => /b;\n/b => /a", ["1 error: /x/x is rewritten in a circle, through lines 2, 3"]),
        ("/svc => /a | ! | /b", ["1 warning: alternatives after `!` or `$` are never tried"]),
        ("/svc => /a | (/b | $) | /c", ["1 warning: alternatives after `!` or `$` are never tried"]),
        ("/a/b => /c;\n/*/b => $", ["1 warning: /a/b=>/c is never used: line 2 decides about all its names"]),
        ("/a => /c;\n/ => ! & $", ["1 warning: /a=>/c is never used: line 2 decides about all its names"]),
    ],
)
def test_what_can_not_be_meant_is_said(table: str, words: list[str]) -> None:
    assert said(table) == words


def test_unknown_sources_are_told_once_each() -> None:
    dtab = parse_dtab("/a => /#/x/1 | /#/y/2;\n/b => 2 * /#/x/1 & 1 * /#/z;\n/c => /#;\n/d => /#/here/too/3")
    roots = [Path.parse("/#/y"), Path.parse("/#/here/too")]
    found = [(dentry.line, path.show()) for dentry, path in unknown_sources(dtab, roots)]
    assert found == [(1, "/#/x/1"), (2, "/#/z")]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.text("abcd/*!$~|&", max_size=8)), max_size=6))
def test_any_table_is_looked_through(entries: list[tuple[str, str]]) -> None:
    table = ";".join(f"/{prefix} => /{tree}" for prefix, tree in entries)
    try:
        dtab = parse_dtab(table)
    except ValueError:
        return
    assert all(isinstance(remark, Remark) for remark in remarks(dtab))


HARD = [
    pytest.param(" ; ".join(f"/n{at} => !" for at in range(12_000)), id="all final"),
    pytest.param(" ; ".join(f"/n{at} => /n{at + 1} | /n{at + 2}" for at in range(6_000)), id="branches"),
    pytest.param("/b => /c ; " * 8_000, id="one prefix"),
]


@pytest.mark.parametrize("text", HARD)
def test_a_table_that_is_long_is_looked_at_in_a_bounded_number_of_steps(text: str) -> None:
    """Who may lint could otherwise stop a control plane for minutes; here the test would not end."""
    for remark in remarks(parse_dtab(text)):
        assert remark.line == 1


def test_a_table_that_branches_without_end_is_no_circle() -> None:
    [remark] = remarks(parse_dtab("/b => /c ; " * 8_000))
    assert (remark.level, "takes more than 5000 steps" in remark.message) == ("error", True)


def test_of_a_table_that_takes_too_long_it_is_said_where_the_search_ended() -> None:
    found = remarks(parse_dtab(" ;\n".join(f"/n{at} => /n{at + 1} | /n{at + 2}" for at in range(6_000))))
    assert [each.level for each in found if "no entry was tried for circles" in each.message] == ["warning"]
