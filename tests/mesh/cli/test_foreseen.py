from __future__ import annotations

import re

import pytest

from mesh.cli import foreseen
from mesh.cli.answer import Answer

ROW = {
    "name": "/svc/users",
    "router": "http",
    "before": "/#/dc1/users",
    "after": "/#/dc2/users",
    "outcome_before": "bound",
    "outcome_after": "bound",
    "before_endpoints": 3,
    "after_endpoints": 2,
    "moves": 1.0,
    "share": 0.12,
}
PREVIEW = {"names": 812, "changed": [ROW], "moved_share": 0.12, "unknown": [], "limit": 0.1, "refused": True}


def printed(capsys: pytest.CaptureFixture[str], **changes: object) -> list[str]:
    foreseen.print_preview(Answer({**PREVIEW, **changes}))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_changed_names_stand_with_both_ends_and_what_moves(capsys) -> None:
    assert printed(capsys) == [
        "names in use: 812; changed: 1; moved: 12 % of the requests",
        "NAME        BEFORE        AFTER         ENDPOINTS  MOVES  OF ALL",
        "/svc/users  /#/dc1/users  /#/dc2/users  3 → 2      100 %  12 %",
    ]


def test_what_breaks_is_marked_and_says_how(capsys) -> None:
    broken = {**ROW, "breaks": True, "after": "~", "outcome_after": "neg", "after_endpoints": 0, "note": "a note"}
    assert re.split(" {2,}", printed(capsys, changed=[broken])[2]) == [
        "✗ /svc/users",
        "/#/dc1/users",
        "~: no such name; a note",
        "3 → 0",
        "100 %",
        "12 %",
    ]


def test_settings_copies_and_whom_it_holds_for_are_said(capsys) -> None:
    row = {**ROW, "settings": ["timeout.request"], "copies": [{"to": "/svc/x", "after": "/#/dc1/x"}], "agents": ["h7"]}
    (_, _, line) = printed(capsys, changed=[row])
    assert line.startswith("/svc/users (on h7)  /#/dc1/users  ")
    assert "/#/dc2/users; settings: timeout.request; copies to /svc/x: /#/dc1/x  " in line


def test_what_nobody_knows_is_listed(capsys) -> None:
    unknown = [{"name": "/svc/cart", "reason": "/#/dc1 has not answered"}]
    assert printed(capsys, changed=[], unknown=unknown, moved_share=0)[1:] == [
        "? /svc/cart: not known where it would lead: /#/dc1 has not answered"
    ]


def test_many_are_cut_and_the_rest_is_counted(capsys) -> None:
    lines = printed(capsys, changed=[ROW] * 60, unknown=[{"name": "/svc/x", "reason": "y"}] * 53)
    assert lines[-1] == "… and 13 more; `-o json` shows all"
    assert len(lines) == 1 + 1 + 50 + 50 + 1


def test_a_change_that_touches_nothing_says_so(capsys) -> None:
    assert printed(capsys, changed=[]) == ["names in use: 812; none would lead elsewhere"]


def test_why_it_needs_a_yes() -> None:
    assert foreseen.refused(Answer({**PREVIEW, "refused": False})) is None
    silent = {"https://b:4180": "no answer within 2 s"}
    assert str(foreseen.refused(Answer({**PREVIEW, "silent": silent}))).endswith(
        "and of 1 of the replicas the names in use are not known. --yes makes it anyway"
    )
    assert foreseen.refused(Answer({**PREVIEW, "unknown_share": 0.031, "by": "names"})) == (
        "12 % of the names in use would move, of 3.1 % it is not known: more than the limit of 10 %. "
        "Look at the preview; --yes makes it anyway"
    )


@pytest.mark.parametrize(
    ("share", "said"),
    [(None, "0 %"), (0, "0 %"), (0.00001, "0.001 %"), (0.0123, "1.2 %"), (0.1, "10 %"), (0.999, "100 %"), (1, "100 %")],
)
def test_shares(share: float | None, said: str) -> None:
    assert foreseen.percent(share) == said


def test_a_replica_that_said_nothing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    foreseen.print_preview(Answer({**PREVIEW, "silent": {"https://b:4180": "no answer within 2 s"}}))
    said = capsys.readouterr().out.splitlines()
    assert "? the names in use at the replica https://b:4180 are not in this preview: no answer within 2 s" in said
