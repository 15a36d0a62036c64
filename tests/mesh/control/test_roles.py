"""Words of which tables speak alike, and those that only seem to be such."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from discovery.path import Path
from mesh.control.roles import FEW, MOST_WORDS, Group, Roles
from mesh.naming.difference import merged
from mesh.naming.dtab import parse_dtab

COMMON = ("#", "one", "svc", "host")


def roles(before: str, after: str | None = None) -> Roles:
    tables = (parse_dtab(text).dentries for text in (before, before if after is None else after))
    return Roles(merged(*tables), COMMON)


def role(found: Roles, word: str) -> int | None:
    """None: it is of no group."""
    groups = found.groups(Path((word,)))
    return next(iter(groups)).role if groups else None


ALIKE = [
    pytest.param("/svc/a => /host/a; /svc/b => /host/b", None, id="each its own dentry"),
    pytest.param("/svc/a => /#/one/c; /svc/b => /#/one/d", None, id="each leads to a word of its own"),
    pytest.param("/svc/a => 2 * /#/one/a & $ | !; /svc/b => 2*/#/one/b & $ | !", None, id="trees"),
    pytest.param("/*/a => /#/one; /*/b => /#/one; /svc/c => /a; /svc/d => /b", None, id="between each other's"),
    pytest.param("/svc => /host", "/svc => /host; /svc/a => ~; /svc/b => ~", id="after the change alone"),
]
UNALIKE = [
    pytest.param("/svc/a => /host/a; /svc => ~; /svc/b => /host/b", None, id="another place"),
    pytest.param("/svc/a => /host/a; /host/b => /svc/b", None, id="another prefix"),
    pytest.param("/svc/a => /host/a; /svc/* => /host/b; /svc/b => /host", None, id="another tree"),
    pytest.param("/svc/a => 2 * /#/one & /#; /svc/b => 3 * /#/one & /#", None, id="another weight"),
    pytest.param("/svc/a => /#/one | /host; /svc/b => /#/one & /host", None, id="another kind of tree"),
    pytest.param("/svc/a => !; /svc/b => ~", None, id="another word written"),
    pytest.param("/svc/a => !; /svc/b => !", "/svc/a => !", id="one of them before the change alone"),
    pytest.param("/svc/a => /host/a; /svc/b => /host/c", None, id="its own word, and another"),
]


@pytest.mark.parametrize(("before", "after"), ALIKE)
def test_words_of_which_tables_say_the_same_play_one_role(before: str, after: str | None) -> None:
    found = roles(before, after)
    assert role(found, "a") == role(found, "b") is not None


@pytest.mark.parametrize(("before", "after"), UNALIKE)
def test_words_of_which_they_say_other_things_do_not(before: str, after: str | None) -> None:
    found = roles(before, after)
    assert role(found, "a") != role(found, "b")


@pytest.mark.parametrize(
    ("dtab", "words"),
    [
        pytest.param("/svc/a => /host/a; /svc => /host/a", ["a"], id="a name without the word leads to it"),
        pytest.param("/* => /host/a & /host/b; /svc/b => /c", ["a", "b", "c"], id="whatever stands with such a word"),
        pytest.param(";".join(f"/svc/a => /x{n}" for n in range(FEW + 1)), ["a"], id="it stands in many"),
        pytest.param(
            ";".join(f"/svc/a{n} => /svc/a{n + 1}" for n in range(MOST_WORDS)),
            ["a0", "a1", f"a{MOST_WORDS}"],
            id="too many that stand together",
        ),
        pytest.param("/svc/a => /one", ["svc", "one"], id="a namer's"),
        pytest.param("/svc/a => /one", ["x"], id="no table speaks of it"),
    ],
)
def test_words_of_no_group(dtab: str, words: Sequence[str]) -> None:
    found = roles(dtab)
    assert [role(found, word) for word in words] == [None] * len(words)


def test_a_group_has_the_words_that_stand_together_in_one_order() -> None:
    found = roles("/svc/a/b => /#/one/c; /svc/x => !; /svc/d/e => /#/one/f")
    assert found.groups(Path.parse("/svc/c/b")) == {Group(("a", "b", "c"), role(found, "a") or 0, is_alone=False)}
    (other,) = found.groups(Path.parse("/svc/f"))
    assert (other.words, other.role) == (("d", "e", "f"), role(found, "a"))
    (alone,) = found.groups(Path.parse("/svc/x"))
    assert alone.is_alone
    assert found.words == {*"abcdefx", "svc", "#", "one"}


def test_a_name_may_have_words_of_two_groups() -> None:
    assert len(roles("/svc/a => ~; /svc/b => ~").groups(Path.parse("/svc/a/b"))) == 2
