from __future__ import annotations

import pytest

from mesh.cli import difference
from mesh.cli.versions import Version, Written


def version(number: int, dtab: str = "", policies: str = "", *, exists: bool = True) -> Version:
    return Version("default", number, "", 0, "ann", "", dtab, policies, exists=exists)


def test_only_what_a_change_says_is_compared() -> None:
    before = version(3, "/a => /b ;\n", "- {match: /a}\n")
    assert difference.against(before, Written("/a => /c ;\n"), "names.dtab") == [
        "--- table of version 3",
        "+++ table of names.dtab",
        "@@ -1 +1 @@",
        "-/a => /b ;",
        "+/a => /c ;",
    ]
    assert difference.against(before, Written(None, "- {match: /a}\n"), "x") == []


def test_two_versions_are_compared_in_both_texts() -> None:
    lines = difference.lines(version(1, "a\n", "p\n"), version(2, "b\n", "q\n"))
    assert [line for line in lines if line[:1] in "+-"] == [
        "--- table of version 1",
        "+++ table of version 2",
        "-a",
        "+b",
        "--- policies of version 1",
        "+++ policies of version 2",
        "-p",
        "+q",
    ]


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (None, version(1), "created"),
        (version(4, exists=False), version(5, "a\n"), "created"),
        (version(1, "a\n"), version(2, exists=False), "deleted"),
        (version(1, "a\nb\n"), version(2, "a\nc\nd\n"), "table +2 -1"),
        (version(1, "a\n"), version(2, "a\n", "p\n"), "policies"),
        (version(1, "a\n"), version(2, "b\n", "p\n"), "table +1 -1, policies"),
        (version(1, "a\n"), version(2, "a\n"), "nothing"),
        (version(1, "---\n"), version(2, "+++\n"), "table +1 -1"),
    ],
)
def test_what_changed_in_a_word(before: Version | None, after: Version, word: str) -> None:
    assert difference.in_a_word(before, after) == word
