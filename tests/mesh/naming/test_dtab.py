from __future__ import annotations

import doctest
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path
from mesh.naming import dtab, pattern, tree
from mesh.naming.dtab import MAX_NESTING, Dentry, Dtab, DtabSyntaxError, parse_dtab, parse_path, parse_tree
from mesh.naming.prefix import WILDCARD
from mesh.naming.tree import Alt, Leaf, Union, Weighted
from tests.mesh.naming import strategies


def leaf(path: str) -> Leaf[Path]:
    return Leaf(Path.parse(path))


@given(strategies.tables)
def test_a_table_reads_as_it_was_shown(table: Dtab) -> None:
    assert parse_dtab(table.show()) == table
    assert parse_dtab(table.show(" ;\n") + (";" if table else "")) == table


@given(strategies.paths)
def test_a_path_reads_as_it_was_shown(path: Path) -> None:
    assert parse_path(path.show()) == path


GRAMMAR = st.text(st.sampled_from("/ab*#$%-_.:|&()!~;=> \n\t\\x019.{}?é\u00a0"), max_size=60)


@given(st.one_of(GRAMMAR, st.text(max_size=60)))
def test_any_text_is_read_or_is_a_syntax_error_that_says_where(text: str) -> None:
    for parse in (parse_dtab, parse_tree, parse_path):
        error = error_of(parse, text)
        if error is not None:
            assert 0 <= error.position <= len(text)
            assert error.column >= 1
            assert f"line {error.line}, column {error.column}: " in str(error)
            assert "[" in str(error)


@given(strategies.tables, st.data())
def test_a_damaged_table_is_read_or_is_a_syntax_error(table: Dtab, data: st.DataObject) -> None:
    text = table.show()
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(GRAMMAR) + text[at + data.draw(st.integers(0, 3)) :]
    error = error_of(parse_dtab, damaged)
    assert error is None or str(error)


def error_of(parse: Callable[[str], object], text: str) -> DtabSyntaxError | None:
    try:
        parse(text)
    except DtabSyntaxError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("invalid-param", 1, 1, "'/' expected but 'i' found at '[i]nvalid-param'"),
        ("/a => /foo/", 1, 12, "found at '/a => /foo/[]'"),
        ("/a => /foo^bar", 1, 11, "found at '/a => /foo[^]bar'"),
        ("/a => /b\n/c => /d", 2, 1, "';' or the end of the table expected but '/' found at '[/]c => /d'"),
        ("/a => /b;\n\n  /c = > /d;", 3, 6, "'=>' expected but '=' found at '  /c [=] > /d;'"),
        ("/a => /b;;", 1, 10, "found at '/a => /b;[;]'"),
        ("; /a => /b", 1, 1, "found at '[;] /a => /b'"),
        ("/a => ", 1, 7, "but the end of the text found at '/a => []'"),
        ("/a => 0.1.2 * /b & /c", 1, 10, "'*' expected but '.' found"),
        ("/a => . * /b", 1, 7, "a number expected but '.' found"),
        (f"/a => {'9' * 400} * /b & /c", 1, 7, "a weight that is not too large expected"),
        ("/a => (/b | /c", 1, 15, "')', '|' or '&' expected"),
        ("/a/*b => /c", 1, 5, "'=>' expected but 'b' found"),
        ("/a/b* => /c", 1, 5, "'=>' expected but '*' found"),
        ("/a/ => /c", 1, 4, "'*' or a label"),
    ],
)
def test_a_syntax_error_says_where_and_what_was_expected(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(DtabSyntaxError) as raised:
        parse_dtab(text)
    assert (raised.value.line, raised.value.column) == (line, column)
    assert message in str(raised.value)


def test_a_syntax_error_names_its_table_and_quotes_only_what_is_near() -> None:
    with pytest.raises(DtabSyntaxError) as raised:
        parse_dtab(f"/a => /b; {' ' * 500}?{' ' * 500}\n/c => /d", "header l5d-dtab")
    assert str(raised.value).startswith("header l5d-dtab, line 1, column 511: ")
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize("tail", ["", "/a", "/a" + ")" * 100_000])
def test_parentheses_nest_up_to_a_limit(tail: str) -> None:
    assert parse_tree("(" * MAX_NESTING + "/a" + ")" * MAX_NESTING) == leaf("/a")
    with pytest.raises(DtabSyntaxError, match="at most 64 nested parentheses") as raised:
        parse_tree("(" * 100_000 + tail)
    assert raised.value.position == MAX_NESTING


def test_a_table_of_a_megabyte_is_read() -> None:
    text = "\n".join(f"/svc/s{n}/* => 9 * /#/consul/dc1/s{n} & /b | ~ ; # {'x' * 20}" for n in range(15_000))
    table = parse_dtab(text)
    assert (len(text) > 1_000_000, len(table), table.dentries[-1].line) == (True, 15_000, 15_000)


def test_whitespace_and_comments_may_stand_between_but_not_inside() -> None:
    text = " # first\n/a\n=>\t2.5 * ( /b#x | ~ ) # ; /no => /no\n & $ ;\n\n /*/c=>/#/io.l5d.fs;"
    first, second = parse_dtab(text).dentries
    alternatives = Alt((leaf("/b#x"), tree.Neg()))
    assert first == Dentry(("a",), Union((Weighted(2.5, alternatives), Weighted(1.0, tree.Empty()))))
    assert second == Dentry((WILDCARD, "c"), leaf("/#/io.l5d.fs"))
    assert (first.line, second.line) == (2, 6)


@pytest.mark.parametrize("space", ["\u00a0", "\u2007", "\u202f", "\x85"])
def test_spaces_that_java_does_not_count_are_none(space: str) -> None:
    with pytest.raises(DtabSyntaxError):
        parse_dtab(f"/a =>{space}/b")


@pytest.mark.parametrize(("number", "weight"), [(".5", 0.5), ("3.", 3.0), ("0", 0.0), ("007.250", 7.25)])
def test_numbers_have_digits_and_at_most_one_point(number: str, weight: float) -> None:
    assert parse_tree(f"{number}*/a & /b") == Union((Weighted(weight, leaf("/a")), Weighted(1.0, leaf("/b"))))


@pytest.mark.parametrize("text", ["", "  ", "\n# only a comment", "#"])
def test_an_empty_table_is_legal(text: str) -> None:
    assert parse_dtab(text) == Dtab()


def test_an_escaped_star_is_no_wildcard() -> None:
    literal, wild = parse_dtab(r"/\x2a => /a; /* => /b").dentries
    assert (literal.prefix, wild.prefix) == (("*",), (WILDCARD,))
    assert literal.show() == r"/\x2a=>/a"


def test_equality_ignores_where_a_dentry_was_written() -> None:
    one, other = parse_dtab("/a => /b", "one"), parse_dtab("\n\n/a=>/b", "other")
    assert one == other
    assert hash(one) == hash(other)
    assert (other.dentries[0].line, other.dentries[0].where) == (3, "other")
    assert one != parse_dtab("/a => /c")


@given(strategies.tables, strategies.tables, strategies.paths)
def test_an_appended_table_wins_as_if_both_were_one(base: Dtab, local: Dtab, path: Path) -> None:
    both = base + local
    assert both == Dtab([*base.dentries, *local.dentries])
    assert both.lookup(path) == Dtab(both.dentries).lookup(path)


@given(strategies.tables, strategies.paths)
def test_a_lookup_finds_what_trying_each_dentry_finds(table: Dtab, path: Path) -> None:
    matching = [
        dtab.append(dentry.tree, path[len(dentry.prefix) :])
        for dentry in reversed(table.dentries)
        if len(dentry.prefix) <= len(path)
        and all(own in (WILDCARD, given) for own, given in zip(dentry.prefix, path, strict=False))
    ]
    expected = matching[0] if len(matching) == 1 else Alt(tuple(matching)) if matching else tree.Neg()
    assert table.lookup(path) == expected


@given(
    st.lists(st.tuples(strategies.tables, st.sampled_from(("", " ", "\n", " # a; b => c\n"))), max_size=5),
    st.booleans(),
)
def test_the_layout_says_where_each_dentry_stands(parts: list[tuple[Dtab, str]], closed: bool) -> None:
    shown = [(dentry.show(), space) for table, space in parts for dentry in table]
    text = ";".join(f"{space}{dentry}{space}" for dentry, space in shown) + (";" if closed and shown else "")
    found = dtab.layout(text)
    assert [text[start:end] for start, end in found.spans] == [dentry for dentry, _ in shown]
    assert found.is_closed == (closed or not shown)


@pytest.mark.parametrize("module", [dtab, pattern])
def test_the_examples_of_the_documentation_hold(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert (failed, tried > 0) == (0, True)
