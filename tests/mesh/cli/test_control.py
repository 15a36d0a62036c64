"""`tieline control check` and `tieline control token`; the control plane itself is in tests/mesh/control."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mesh.control.grants import digest, examine


def test_check_says_that_a_file_is_good(tieline, tmp_path: Path) -> None:
    (tmp_path / "control.yaml").write_text("sources: [{kind: static, names: {users: ['127.0.0.1:80']}}]\n")
    done = tieline("control", "check", "-c", "control.yaml")
    assert (done.exit_code, done.output) == (0, "control.yaml: ok (store: sqlite, sources: 1)\n")
    told = json.loads(tieline("control", "check", "-c", "control.yaml", "-o", "json").output)
    assert told == {"ok": True, "errors": [], "warnings": []}


def test_check_names_every_mistake_with_its_line(tieline, tmp_path: Path) -> None:
    (tmp_path / "control.yaml").write_text("listen: {address: 0.0.0.0}\nstor: x\n")
    done = tieline("control", "check", "-c", "control.yaml")
    assert done.exit_code == 1
    assert "control.yaml:2:1: stor: unknown key. Did you mean 'store'?" in done.output
    told = json.loads(tieline("control", "check", "-c", "control.yaml", "-o", "json").output)
    assert (told["ok"], told["errors"][0]["line"]) == (False, 2)


def test_check_of_a_file_that_is_not_there(tieline) -> None:
    done = tieline("control", "check", "-c", "none.yaml")
    assert done.exit_code == 1
    assert "none.yaml: the file can't be read" in done.output


@pytest.mark.parametrize("role", ["read", "write", "agent"])
def test_a_token_is_printed_once_beside_the_entry_that_lets_it_in(tieline, tmp_path: Path, role: str) -> None:
    done = tieline("control", "token", "ci: 'x'", "--role", role)
    assert done.exit_code == 0
    token, entry = done.stdout.strip(), done.stderr.partition("\n")[2]
    assert "\n" not in token
    assert token not in done.stderr
    file = tmp_path / "tokens.yaml"
    file.write_text(f"tokens:\n{entry}")
    grants = examine(file).grants
    assert grants is not None
    [made] = grants.tokens
    assert (made.name, made.role, made.sha256) == ("ci: 'x'", role, digest(token))


def test_an_agents_token_may_be_for_some_namespaces(tieline) -> None:
    arguments = ("control", "token", "host7", "--role", "agent", "--namespace", "a", "--namespace", "b", "-o", "json")
    made = json.loads(tieline(*arguments).output)
    assert made["entry"] == {
        "name": "host7",
        "role": "agent",
        "sha256": digest(made["token"]),
        "namespaces": ["a", "b"],
    }
    assert yaml.safe_load(tieline(*arguments).output)["token"] != made["token"]


@pytest.mark.parametrize(
    "arguments",
    [("--role", "king"), ("--role", "write", "--namespace", "a"), ("--role", "agent", "--namespace", "a.b")],
)
def test_a_role_or_namespace_that_can_not_be_is_a_wrong_command_line(tieline, arguments: tuple[str, ...]) -> None:
    done = tieline("control", "token", "ci", *arguments)
    assert done.exit_code == 2
    assert "tieline_" not in done.output
