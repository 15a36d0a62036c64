"""The fleet's table and the agent's own: which of them wins, and what is said of those that can't be read."""

from __future__ import annotations

from pathlib import Path as File

import yaml
from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path
from mesh.agent.table import Own, Refused, Table
from mesh.config import policies
from mesh.naming.dtab import parse_dtab
from mesh.policy.effective import Policies
from tests.in_process import version

OWN = Own(
    parse_dtab("/svc/mine => /own"), policies.from_text("[{match: /svc/mine, timeout: {request: 1s}}]", "", File())[0]
)


def joined(dtab: str | None, text: str = "", own: Own = OWN) -> Table:
    table = own.behind(version(7, dtab, text))
    assert isinstance(table, Table), table
    return table


def test_the_agents_own_come_last_so_that_they_win() -> None:
    table = joined("/svc => /fleet", "[{match: /svc, timeout: {request: 9s, connect: 3s}}]")
    assert table.dtab.show() == "/svc=>/fleet;/svc/mine=>/own"
    timeout = Policies([each.entry for each in table.policies]).of_name(Path.parse("/svc/mine")).timeout
    assert (timeout.request, timeout.connect) == (1.0, 3.0)


def test_a_dentry_knows_which_version_it_stands_in() -> None:
    dentry, own = joined("\n/svc => /fleet").dtab
    assert (dentry.where, dentry.line) == ("default, version 7", 2)
    assert own.where == ""


def test_versions_tell_tables_apart() -> None:
    assert joined("/a => /b", own=Own()).version == "7"
    assert joined("/a => /b").version == f"7+{OWN.alone().version}"
    assert OWN.alone().version != Own().alone().version


def test_what_is_not_there_is_an_empty_table() -> None:
    assert joined(None).dtab == OWN.dtab
    assert joined("", own=Own()).dtab.show() == ""


def test_relative_places_are_seen_from_the_folder_of_the_configuration() -> None:
    text = "[{match: /svc, tls: {ca: certs/ca.pem}}]"
    (entry,) = joined("", text, Own(folder=File("/etc/tieline"))).policies
    assert entry.tls is not None
    assert entry.tls.ca == File("/etc/tieline/certs/ca.pem")


def test_many_mistakes_are_counted() -> None:
    text = yaml.safe_dump([{"match": "/svc", "timeout": number} for number in range(8)])
    refused = OWN.behind(version(7, "", text))
    assert isinstance(refused, Refused)
    assert refused.reason.count("; ") == 5
    assert refused.reason.endswith("; and 3 more")


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_is_more_than_refused(dtab: str, text: str) -> None:
    table = OWN.behind(version(7, dtab, text))
    assert isinstance(table, Table) or table.reason.startswith(("dtab, line ", "policies, line "))
