from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mesh.control.access import Access, Denied, Shown, demand
from mesh.control.grants import Role, digest


def bearer(token: str) -> Shown:
    return Shown(authorization=f"Bearer {token}")


def written(file: Path, *entries: str, certificates: str = "") -> None:
    """Atomically, with another time each."""
    fresh = file.with_suffix(".fresh")
    fresh.write_text("tokens:\n" + "".join(f"  - {entry}\n" for entry in entries) + certificates)
    os.utime(fresh, ns=(0, file.stat().st_mtime_ns + 1_000_000 if file.exists() else 0))
    fresh.rename(file)


def entry(name: str, role: str, token: str) -> str:
    return f"{{name: {name}, role: {role}, sha256: {digest(token)}}}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


def certificate(*alternatives: tuple[str, str], common: str = "") -> dict[str, Any]:
    subject = ((("commonName", common),),) if common else ()
    return {"subject": subject, "subjectAltName": alternatives}


def test_a_token_says_who_it_is(file: Path) -> None:
    written(file, entry("ci", "write", "one"), entry("host7", "agent", "two"))
    access = Access(file, strangers_read=False)
    caller = access.caller(bearer("one"))
    assert (caller.name, caller.via, caller.roles) == ("ci", "token", {Role.READ, Role.WRITE})
    assert access.caller(bearer("two")).roles == {Role.AGENT}


@pytest.mark.parametrize("said", ["Bearer three", "Bearer", "", "Basic one", "Bearer one two"])
def test_another_is_denied_and_not_repeated(file: Path, said: str) -> None:
    written(file, entry("ci", "write", "one"))
    with pytest.raises(Denied) as denied:
        Access(file, strangers_read=True).caller(Shown(authorization=said))
    assert denied.value.status == 401
    assert "three" not in str(denied.value)


def test_a_new_entry_counts_at_once_and_an_old_one_no_more(file: Path) -> None:
    written(file, entry("ci", "write", "one"))
    access = Access(file, strangers_read=False)
    access.caller(bearer("one"))
    written(file, entry("ci", "write", "two"))
    access.caller(bearer("two"))
    with pytest.raises(Denied):
        access.caller(bearer("one"))


def test_two_tokens_of_one_name_are_both_good(file: Path) -> None:
    written(file, entry("ci", "write", "one"), entry("ci", "write", "two"))
    access = Access(file, strangers_read=False)
    assert access.caller(bearer("one")) == access.caller(bearer("two"))


@pytest.mark.parametrize("how", ["bad", "gone"])
def test_of_a_bad_file_the_last_good_one_counts_and_it_is_said(file: Path, how: str) -> None:
    written(file, entry("ci", "write", "one"))
    access = Access(file, strangers_read=False)
    access.caller(bearer("one"))
    if how == "bad":
        written(file, "{name: ci, role: king}")
    else:
        file.unlink()
    assert access.caller(bearer("one")).name == "ci"
    assert access.problem is not None
    written(file, entry("ci", "read", "one"))
    assert access.caller(bearer("one")).roles == {Role.READ}
    assert access.problem is None


CERTIFIED = """certificates:
  - {name: "spiffe://site/host7", role: agent, namespaces: [default]}
  - {name: ci.example.org, role: write}
  - {name: alice, role: read}
"""


@pytest.mark.parametrize(
    ("shown", "name", "roles"),
    [
        (certificate(("DNS", "x"), ("URI", "spiffe://site/host7")), "spiffe://site/host7", {Role.AGENT}),
        (certificate(("DNS", "other"), ("DNS", "ci.example.org")), "ci.example.org", {Role.READ, Role.WRITE}),
        (certificate(common="alice"), "alice", {Role.READ}),
        (certificate(("DNS", "mallory"), common="bob"), "mallory", set()),
        (certificate(), "nobody", set()),
    ],
)
def test_a_certificate_says_who_it_is(file: Path, shown: dict[str, Any], name: str, roles: set[Role]) -> None:
    written(file, certificates=CERTIFIED)
    file.write_text(CERTIFIED)
    caller = Access(file, strangers_read=False).caller(Shown(certificate=shown))
    assert (caller.name, caller.via, caller.roles) == (name, "certificate", roles)


def test_an_agent_may_have_its_namespaces_and_others_any(file: Path) -> None:
    file.write_text(CERTIFIED)
    access = Access(file, strangers_read=False)
    agent = access.caller(Shown(certificate=certificate(("URI", "spiffe://site/host7"))))
    assert (agent.may_have("default"), agent.may_have("other")) == (True, False)
    assert access.caller(Shown(user="root")).may_have("other")


def test_a_token_goes_before_a_certificate_and_the_socket(file: Path) -> None:
    written(file, entry("ci", "read", "one"), certificates=CERTIFIED)
    shown = Shown("Bearer one", certificate(("DNS", "ci.example.org")), "root")
    assert Access(file, strangers_read=False).caller(shown).via == "token"


def test_who_opens_the_socket_may_all() -> None:
    caller = Access(None, strangers_read=False).caller(Shown(user="alice"))
    assert (caller.name, caller.via, caller.roles) == ("alice", "socket", set(Role))


@pytest.mark.parametrize(("strangers_read", "roles"), [(True, {Role.READ}), (False, set())])
def test_nobody_may_read_where_that_is_allowed(strangers_read: bool, roles: set[Role]) -> None:
    assert Access(None, strangers_read=strangers_read).caller(Shown()).roles == roles


def test_who_may_not_hears_which_role_is_needed(file: Path) -> None:
    written(file, entry("ci", "read", "one"))
    access = Access(file, strangers_read=False)
    with pytest.raises(Denied, match=r"this needs the role write; ci has read") as denied:
        demand(access.caller(bearer("one")), Role.WRITE)
    assert denied.value.status == 403
    with pytest.raises(Denied, match=r"this needs the role read.*tieline control token NAME --role read") as denied:
        demand(access.caller(Shown()), Role.READ)
    assert denied.value.status == 401
    demand(access.caller(bearer("one")), Role.READ)
