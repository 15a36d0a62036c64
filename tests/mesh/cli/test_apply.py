from __future__ import annotations

import json
from pathlib import Path

import pytest

FLEET = """\
namespace: NAME
dtab_file: names.dtab
policies:
- {match: /svc/users, timeout: {request: 5s}}
why: ticket 4711
---
namespace: NAME-next
dtab: |
  /svc => /#/dc2 ;
"""


@pytest.fixture
def files(namespace, tmp_path: Path) -> Path:
    (tmp_path / "names.dtab").write_text("/svc => /#/dc1 ;\n")
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("NAME", namespace))
    return tmp_path


def test_what_files_say_is_put_in_force_and_then_left_alone(files: Path, tieline, namespace) -> None:
    done = tieline("apply", "-f", "fleet.yaml")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == [
        f"{each}: version 1 is in force" for each in (namespace, f"{namespace}-next")
    ]
    assert tieline("dtab", "get").stdout == "/svc => /#/dc1 ;\n"
    assert tieline("policy", "get").stdout == "- {match: /svc/users, timeout: {request: 5s}}\n"
    assert tieline("dtab", "get", "-n", f"{namespace}-next").stdout == "/svc => /#/dc2 ;\n"
    history = json.loads(tieline("dtab", "history", "-o", "json").stdout)["versions"]
    assert [each["why"] for each in history] == ["ticket 4711"]
    done = tieline("apply", "-f", files)
    assert done.stdout.splitlines() == [
        f"{namespace}: nothing to change, version 1 says the same",
        f"{namespace}-next: nothing to change, version 1 says the same",
    ]


@pytest.mark.parametrize("command", [("preview",), ("apply", "--dry-run")])
def test_what_is_only_looked_at_changes_nothing(files: Path, tieline, namespace, command) -> None:
    done = tieline(command[0], "-f", "fleet.yaml", *command[1:], "-o", "json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)["namespaces"]
    assert [(each["namespace"], each["result"]) for each in said] == [
        (namespace, "would change"),
        (f"{namespace}-next", "would change"),
    ]
    assert said[0]["preview"]["changed"] == []
    assert tieline("dtab", "get").exit_code == 1


def test_one_that_is_refused_keeps_all_from_being_made(files: Path, tieline) -> None:
    fleet = (files / "fleet.yaml").read_text()
    (files / "fleet.yaml").write_text(f"{fleet}  /svc = /x\n")
    for command in (("apply",), ("apply", "--dry-run"), ("preview",)):
        done = tieline(command[0], "-f", "fleet.yaml", *command[1:])
        assert done.exit_code == 1
        assert done.stderr.startswith("fleet.yaml:10:8: error: "), done.stderr
    assert tieline("dtab", "get").exit_code == 1
    (files / "names.dtab").write_text("/svc =>\n")
    assert "names.dtab:2:1: error: " in tieline("apply", "-f", "fleet.yaml").stderr


def test_a_text_that_is_not_in_the_file_stays(files: Path, tieline) -> None:
    tieline("apply", "-f", "fleet.yaml")
    (files / "fleet.yaml").write_text("dtab: /svc => /#/dc2\n")
    assert tieline("apply", "-f", "fleet.yaml", "-m", "dc2 is better").exit_code == 0
    assert tieline("policy", "get").stdout == "- {match: /svc/users, timeout: {request: 5s}}\n"
    history = json.loads(tieline("dtab", "history", "-o", "json").stdout)["versions"]
    assert history[0]["why"] == "dc2 is better"


def test_files_that_do_not_read_end_it_before_anything_is_asked(tieline, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("dtb: x\n")
    done = tieline("apply", "-f", "fleet.yaml", "--control", "none")
    assert (done.exit_code, done.stderr) == (1, "fleet.yaml:1:1: dtb: unknown key. Did you mean 'dtab'?\n")


def test_lint_finds_what_only_the_control_plane_knows(files: Path, tieline) -> None:
    assert tieline("lint", "-f", "fleet.yaml").stdout == "ok\n"
    (files / "names.dtab").write_text("/svc => /#/nowhere ;\n")
    done = tieline("lint", "-f", "fleet.yaml")
    assert (done.exit_code, done.stdout) == (0, "problems: 1\n")
    assert done.stderr.startswith("names.dtab:1:9: warning: ")
    (files / "names.dtab").write_text("/svc = /#/nowhere ;\n")
    done = tieline("lint", "-f", "fleet.yaml", "-o", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["problems"][0]["place"] == "names.dtab:1:6"


def test_at_a_terminal_each_change_is_asked_for(files: Path, terminal, tieline, namespace) -> None:
    code, seen = terminal("apply", "-f", "fleet.yaml", answers="y\nn\n")
    assert code == 1
    assert seen.count("Make this change?") == 2
    assert tieline("dtab", "get").exit_code == 0
    assert tieline("dtab", "get", "-n", f"{namespace}-next").exit_code == 1
