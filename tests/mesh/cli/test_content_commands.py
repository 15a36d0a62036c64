"""`get`, `set`, `diff`, `history` and `rollback`, against a real control plane."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ONE, TWO = "# both\n/svc => /#/dc1 ;\n", "/svc => /#/dc1 ;\n/svc/users => /#/dc2/users ;\n"


@pytest.fixture
def put(tieline, namespace, tmp_path: Path):
    def putting(text: str, *options: str, group: str = "dtab"):
        (tmp_path / "new").write_text(text)
        return tieline(group, "set", "new", *options)

    return putting


def test_what_is_set_is_what_is_got_comments_and_all(put, tieline, namespace) -> None:
    done = put(ONE, "-m", "the first one")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "names in use: 0; none would lead elsewhere",
        f"{namespace}: version 1 is in force",
    ]
    assert tieline("dtab", "get").stdout == ONE
    said = json.loads(tieline("dtab", "get", "-o", "json").stdout)
    assert (said["version"], said["why"], said["dtab"]) == (1, "the first one", ONE)


@pytest.mark.parametrize("text", ["/svc => /#/dc1", "", "\n"])
def test_what_is_got_can_be_set_again_and_is_no_change(put, tieline, text: str) -> None:
    put(text)
    assert tieline("dtab", "get").stdout == text
    assert json.loads(put(tieline("dtab", "get").stdout, "-o", "json").stdout)["result"] == "unchanged"


def test_a_change_is_shown_and_the_other_text_stays(put, tieline) -> None:
    put(ONE)
    assert put("- {match: /svc/users, timeout: {request: 5s}}\n", group="policy").exit_code == 0
    done = put(TWO)
    assert done.stdout.splitlines()[:6] == [
        "--- table of version 2",
        "+++ table of new",
        "@@ -1,2 +1,2 @@",
        "-# both",
        " /svc => /#/dc1 ;",
        "+/svc/users => /#/dc2/users ;",
    ]
    assert tieline("policy", "get").stdout == "- {match: /svc/users, timeout: {request: 5s}}\n"
    assert tieline("dtab", "get", "--version", "2").stdout == ONE


def test_what_is_in_force_already_is_no_version(put, namespace) -> None:
    put(ONE)
    done = put(ONE)
    assert (done.exit_code, done.stdout) == (0, f"{namespace}: nothing to change, version 1 says the same\n")
    assert json.loads(put(ONE, "-o", "json").stdout)["result"] == "unchanged"


def test_a_dry_run_changes_nothing(put, tieline, namespace) -> None:
    done = put(ONE, "--dry-run")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"{namespace}: nothing was changed")
    assert tieline("dtab", "get").exit_code == 1


@pytest.mark.parametrize(
    ("text", "group", "said"),
    [
        ("/svc => /#/dc1 ;\n/svc = /x\n", "dtab", "new:2:6: error: "),
        ("- {match: /svc/users, timeot: {}}\n", "policy", "new:1:"),
    ],
)
def test_mistakes_have_file_line_and_column(put, tieline, text: str, group: str, said: str) -> None:
    put(ONE)
    done = put(text, group=group)
    assert done.exit_code == 1
    assert done.stderr.startswith(said), done.stderr
    said_as_json = json.loads(put(text, "-o", "json", group=group).stdout)
    assert said_as_json["result"] == "refused"
    assert said_as_json["problems"][0]["line"] in (1, 2)
    assert tieline("dtab", "get").stdout == ONE


def test_only_on_top_of_the_version_that_is_named(put, namespace) -> None:
    assert put(ONE, "--if-version", "0").exit_code == 0
    done = put(TWO, "--if-version", "0")
    assert done.exit_code == 1
    assert f"{namespace}: version 1 is in force, not version 0" in done.stderr
    assert "+/svc/users => /#/dc2/users ;" in done.stdout
    assert json.loads(put(TWO, "--if-version", "0", "-o", "json").stdout)["result"] == "refused"
    assert put(TWO, "--if-version", "1").exit_code == 0


def test_namespaces_do_not_know_of_each_other(put, tieline, namespace, monkeypatch) -> None:
    put(ONE)
    put(TWO, "-n", "staging")
    assert tieline("dtab", "get", "-n", namespace).stdout == ONE
    monkeypatch.setenv("TIELINE_NAMESPACE", "staging")
    assert tieline("dtab", "get").stdout == TWO


def test_a_namespace_that_is_not_there(tieline, control_plane) -> None:
    done = tieline("dtab", "get", "-n", "none")
    assert done.exit_code == 1
    assert done.stderr.startswith("none: nothing is in force. ")
    assert tieline("dtab", "history", "-n", "none").exit_code == 1
    done = tieline("dtab", "get", "--version", "7")
    assert (done.exit_code, "has no version 7" in done.stderr) == (1, True)
    done = tieline("dtab", "get", "-n", "a/b")
    assert done.exit_code == 1
    assert done.stderr.startswith("the control plane answered: ")


def test_the_history_says_who_what_and_why(put, tieline) -> None:
    put(ONE, "-m", "the first one")
    put(TWO, "-m", "users are in dc2")
    put("- {match: /svc/users}\n", "-m", "slow", group="policy")
    lines = tieline("dtab", "history").stdout.splitlines()
    assert lines[0].split() == ["VERSION", "WHEN", "WHO", "CHANGED", "WHY"]
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    said = json.loads(tieline("policy", "history", "-o", "json").stdout)["versions"]
    assert [(each["changed"], each["why"]) for each in said] == [
        ("policies", "slow"),
        ("table +1 -1", "users are in dc2"),
        ("created", "the first one"),
    ]
    page = json.loads(tieline("dtab", "history", "--limit", "1", "--before", "3", "-o", "json").stdout)["versions"]
    assert [(each["version"], each["changed"]) for each in page] == [(2, "table +1 -1")]


def test_diff_compares_versions_and_files(put, tieline, tmp_path: Path) -> None:
    put(ONE)
    put(TWO)
    (tmp_path / "mine").write_text(ONE)
    versions, file = tieline("dtab", "diff", "1", "2"), tieline("dtab", "diff", "mine")
    assert versions.stdout.splitlines()[:2] == ["--- table of version 1", "+++ table of version 2"]
    assert file.stdout.splitlines()[:2] == ["--- table of version 2", "+++ mine"]
    assert tieline("dtab", "diff", "1").stdout == versions.stdout
    assert (tieline("dtab", "diff", "2").stdout, versions.exit_code) == ("no difference\n", 0)
    assert json.loads(tieline("dtab", "diff", "1", "-o", "json").stdout)["same"] is False


def test_a_rollback_brings_both_texts_back_as_a_new_version(put, tieline, namespace) -> None:
    put(ONE)
    put("- {match: /svc/users}\n", group="policy")
    put(TWO)
    done = tieline("dtab", "rollback", "1", "-m", "was better")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"{namespace}: version 4 is in force")
    assert tieline("dtab", "get").stdout == ONE
    assert tieline("policy", "get").stdout.strip() == ""
    assert tieline("dtab", "rollback", "--last").exit_code == 0
    assert tieline("dtab", "get").stdout == TWO
    said = json.loads(tieline("dtab", "history", "-o", "json").stdout)["versions"]
    assert [each["why"] for each in said[:2]] == ["back to version 3", "was better"]
    done = tieline("dtab", "rollback", "5")
    assert done.stdout == f"{namespace}: nothing to change, version 5 says the same\n"


@pytest.mark.parametrize("options", [(), ("1", "--last")])
def test_a_rollback_needs_to_know_where_to(tieline, options) -> None:
    done = tieline("dtab", "rollback", *options)
    assert (done.exit_code, done.stderr) == (2, "a VERSION or --last expected\n")


def test_on_a_terminal_it_asks_first(put, terminal, namespace, tmp_path: Path) -> None:
    put(ONE)
    (tmp_path / "new").write_text(TWO)
    code, seen = terminal("dtab", "set", "new", answers="n\n")
    assert (code, seen.endswith("nothing was changed\n")) == (1, True)
    assert "\x1b[32m+/svc/users => /#/dc2/users ;" in seen
    code, seen = terminal("dtab", "set", "new", answers="y\n")
    assert (code, seen.endswith(f"{namespace}: version 2 is in force\n")) == (0, True)


def test_nobody_is_asked_who_has_said_yes(put, terminal, tmp_path: Path) -> None:
    (tmp_path / "new").write_text(ONE)
    code, seen = terminal("dtab", "set", "new", "--yes")
    assert (code, "Make this change?" in seen) == (0, False)


def test_the_table_can_be_checked_by_what_the_control_plane_knows(tieline, control_plane, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("/svc => /#/dc1 ;\n/svc/x => /#/nowhere ;\n")
    done = tieline("dtab", "check", "new", "--control", control_plane.socket)
    assert done.exit_code == 0
    assert "new:2:" in done.stderr
    assert "/#/nowhere" in done.stderr
    (tmp_path / "new").write_text("/svc = /#/dc1 ;\n")
    done = tieline("dtab", "check", "new", "--control", control_plane.socket, "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (1, False)
