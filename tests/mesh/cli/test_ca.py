from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def made(tieline) -> None:
    assert tieline("ca", "init", "ca", "--trust-domain", "example.org").exit_code == 0


def test_an_authority_is_made_and_issues(tieline, made, tmp_path: Path) -> None:
    done = tieline(
        "ca", "issue", "ca", "host", "web-1", "--dns", "web-1.example", "--address", "10.0.0.1", "--out", "out"
    )
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("spiffe://example.org/host/web-1, until ")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["web-1.key", "web-1.pem"]
    assert tieline("ca", "issue", "ca", "service", "/svc/users").exit_code == 0
    assert (tmp_path / "users.pem").exists()


def test_a_rotation_says_what_comes_next_and_refuses_the_wrong_order(tieline, made) -> None:
    done = tieline("ca", "rotate", "ca", "activate")
    assert (done.exit_code, done.stderr.startswith("activate is not the next step, prepare is: ")) == (1, True)
    done = tieline("ca", "rotate", "ca", "prepare")
    assert done.stdout.splitlines()[0] == "ca/bundle.pem: has the new root, too. Bring it to every host"
    assert done.stdout.splitlines()[1].startswith("next: activate, not before ")
    done = tieline("ca", "rotate", "ca", "activate")
    assert (done.exit_code, done.stderr.startswith("activate is due at ")) == (1, True)
    assert tieline("ca", "rotate", "ca", "activate", "--spread-hours", "0").exit_code == 0
    assert tieline("ca", "rotate", "ca", "retire", "--spread-hours", "0").exit_code == 0
    said = json.loads(tieline("ca", "show", "ca", "-o", "json").stdout)
    assert [(each["generation"], each["signs"]) for each in said["roots"]] == [(2, True)]
    assert (said["trust_domain"], said["next"]) == ("example.org", "prepare")


def test_keys_that_are_locked_need_their_passphrase(tieline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    locked = ("--passphrase-file", "secret")
    assert tieline("ca", "init", "ca", "-d", "example.org", *locked).exit_code == 0
    done = tieline("ca", "issue", "ca", "host", "web-1")
    assert (done.exit_code, done.stderr.endswith("the key is locked: give its passphrase\n")) == (1, True)
    assert tieline("ca", "issue", "ca", "host", "web-1", *locked).exit_code == 0
    assert tieline("ca", "renew", "ca", *locked).exit_code == 0
    assert tieline("ca", "show", "ca").exit_code == 0
    monkeypatch.setenv("TIELINE_CA_PASSPHRASE", "open sesame")
    done = tieline("ca", "issue", "ca", "host", "web-1")
    assert done.exit_code == 0
    assert "sesame" not in done.output


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("init", "ca", "-d", "Example.org"), 1, "a trust domain is made of small letters"),
        (("init", "ca", "-d", "example.org", "--root", "x"), 2, "--root and --root-key go together"),
        (("init", "ca", "-d", "example.org", "--root", "x", "--root-key", "y"), 1, "x: no such file or directory"),
        (("issue", "none", "host", "web-1"), 1, "none: there is no authority. `tieline ca init` makes one"),
        (("show", "none"), 1, "none: there is no authority"),
        (("show", "none", "--passphrase-file", "none"), 2, "No such option"),
        (("renew", "none", "--passphrase-file", "none"), 1, "none: no such file or directory"),
    ],
)
def test_what_can_not_be_done_is_told(tieline, words: tuple[str, ...], code: int, why: str) -> None:
    done = tieline("ca", *words)
    assert done.exit_code == code
    assert why in done.stderr


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("web 1", (), "a segment of a SPIFFE id is made of"),
        ("../web", (), "a segment of a SPIFFE id is made of"),
        ("web-1", ("--hours", "9000"), "the authority itself is valid until "),
        ("web-1", ("--address", "web"), "'web' is no IP address"),
        ("web-1", ("--dns", "wéb"), "'wéb' is no DNS name"),
    ],
)
def test_what_can_not_be_issued_is_told(tieline, made, name: str, options: tuple[str, ...], why: str) -> None:
    done = tieline("ca", "issue", "ca", "host", name, *options)
    assert (done.exit_code, why in done.stderr) == (1, True), done.output
