"""What a caller is told who gets no service."""

from __future__ import annotations

import pytest

from discovery.address import Bound, Failed, Known, Neg, Pending, State
from discovery.path import Path
from mesh.agent.refusal import refused, unavailable, unidentified
from mesh.naming.bind import bind
from mesh.naming.dtab import parse_dtab
from mesh.naming.namers import SourceNamer

FILES = Path(("#", "files"))
ENVOY_LIMIT = 4096


def _refused(dtab: str, state: State, *, unanswered: bool = False, name: str = "users") -> tuple[int, str, str]:
    binding = bind(parse_dtab(dtab), Path(("svc", name)), [SourceNamer(FILES, 1)], lambda _path: state)
    refusal = refused(binding, name, unanswered=unanswered)
    return refusal.status, refusal.err, refusal.body


@pytest.mark.parametrize(
    ("dtab", "state", "unanswered", "status", "err"),
    [
        pytest.param("/svc => /#/files", Known(Neg(), 0, 0), False, 404, "no such name: /svc/users", id="missing"),
        pytest.param("", Known(Neg(), 0, 0), False, 404, "no such name: /svc/users", id="no table"),
        pytest.param("/svc => /#/files", Failed("down"), True, 503, "can't tell whether /svc/users", id="unanswered"),
        pytest.param("/svc => /#/files", Known(Bound(), 0, 0), False, 503, "no endpoints for /svc/users", id="empty"),
        pytest.param("/svc => !", Known(Neg(), 0, 0), False, 503, "refused by the table (!): /svc/users", id="fail"),
        pytest.param("/svc => $", Known(Neg(), 0, 0), False, 503, "nothing behind the name ($)", id="nothing"),
        pytest.param("/svc => ~", Known(Neg(), 0, 0), False, 404, "no such name: /svc/users", id="written neg"),
        pytest.param("/svc => /svc", Known(Neg(), 0, 0), False, 503, "can't bind /svc/users", id="circle"),
        pytest.param("/svc => /#/files", Pending(), False, 503, "no answer in time for /svc/users", id="waiting"),
    ],
)
def test_each_outcome_has_its_status_its_header_and_its_reason(
    dtab: str, state: State, unanswered: bool, status: int, err: str
) -> None:
    said = _refused(dtab, state, unanswered=unanswered)
    assert said[0] == status
    assert said[1].startswith(err)
    assert said[2].startswith("tieline: ")
    assert said[2].endswith("Run: tieline explain users\n")


def test_the_body_names_the_branch_and_the_line_that_led_there() -> None:
    body = _refused("/x => /y ;\n/svc => /#/files | /#/files/other", Known(Neg(), 0, 0))[2]
    assert "/#/files/users: no such name" in body
    assert "/#/files/other/users: no such name" in body
    assert "line 2" in body


def test_a_long_story_is_cut_to_what_envoy_takes_and_keeps_its_last_line() -> None:
    body = _refused("/svc => /#/files", Failed("ü" * 100_000), unanswered=True)[2]
    assert len(body.encode()) < ENVOY_LIMIT
    assert body.endswith("Run: tieline explain users\n")


@pytest.mark.parametrize(
    "text", ["<host>/<port>", "a\r\nset-cookie: x", "ü€", "100%", '"quoted"', "[::1]", "\x00\x7f", "tab\there"]
)
def test_a_header_is_one_printable_line_and_stays_readable(text: str) -> None:
    err = unavailable(text, "users").err
    assert err.isascii()
    assert err.isprintable()


def test_what_needs_no_encoding_in_a_header_has_none() -> None:
    reason = "/$/inet takes <host>/<port>, and a port is a number"
    assert unavailable(reason, "users").err == reason


def test_a_request_without_a_name_is_told_what_to_send() -> None:
    refusal = unidentified("the request has no Host header")
    assert refusal.status == 400
    assert refusal.err == "unidentified: the request has no Host header"
    assert "Host header" in refusal.body.splitlines()[-1]
