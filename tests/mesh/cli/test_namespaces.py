"""`tieline dtab list` and `tieline dtab delete`, against a real control plane."""

from __future__ import annotations

import json

import pytest

ONE = "/svc => /#/dc1 ;\n"
POLICY = "- {match: /svc/users}\n"


@pytest.fixture
def made(tieline, namespace, tmp_path) -> str:
    (tmp_path / "names.dtab").write_text(ONE)
    (tmp_path / "policies.yaml").write_text(POLICY)
    assert tieline("dtab", "set", "names.dtab", "-m", "the first one").exit_code == 0
    assert tieline("policy", "set", "policies.yaml").exit_code == 0
    return namespace


def test_a_deletion_is_told_and_is_undone_by_a_rollback(made, tieline) -> None:
    done = tieline("dtab", "delete", "-m", "not needed")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:4] == ["--- table of version 2", "+++ table of nothing", "@@ -1 +0,0 @@", f"-{ONE.strip()}"]
    assert lines[-1] == f"{made}: deleted, as version 3; `tieline dtab rollback --last` brings it back"
    done = tieline("dtab", "get")
    assert (done.exit_code, done.stderr.startswith(f"{made}: ")) == (1, True)
    (last, *_) = json.loads(tieline("dtab", "history", "-o", "json").stdout)["versions"]
    assert (last["version"], last["why"]) == (3, "not needed")
    assert tieline("dtab", "rollback", "--last").exit_code == 0
    assert (tieline("dtab", "get").stdout, tieline("policy", "get").stdout) == (ONE, POLICY)


def test_what_says_nothing_can_be_deleted_too(tieline, namespace, tmp_path) -> None:
    (tmp_path / "none.dtab").write_text("")
    assert tieline("dtab", "set", "none.dtab").exit_code == 0
    assert tieline("dtab", "delete").stdout.splitlines()[-1].startswith(f"{namespace}: deleted, as version 2")


def test_a_dry_run_deletes_nothing_nor_does_one_from_another_version(made, tieline) -> None:
    done = tieline("dtab", "delete", "--dry-run")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"{made}: nothing was changed")
    done = tieline("dtab", "delete", "--if-version", "1")
    assert (done.exit_code, done.stderr) == (
        1,
        f"{made}: version 2 is in force, not version 1. Look at it, and set again\n",
    )
    said = json.loads(tieline("dtab", "delete", "--if-version", "1", "-o", "json").stdout)
    assert (said["result"], tieline("dtab", "get").stdout) == ("refused", ONE)


def test_there_must_be_something_to_delete(tieline, namespace) -> None:
    done = tieline("dtab", "delete")
    assert (done.exit_code, done.stderr.startswith(f"{namespace}: nothing is in force")) == (1, True)


def test_all_namespaces_are_listed_the_deleted_only_in_json(made, tieline) -> None:
    rows = tieline("dtab", "list").stdout.splitlines()
    assert rows[0].split() == ["NAMESPACE", "VERSION", "WHEN", "WHO", "WHY"]
    assert [each.split()[:2] for each in rows if each.startswith(f"{made} ")] == [[made, "2"]]
    assert tieline("dtab", "delete").exit_code == 0
    assert made not in tieline("dtab", "list").stdout
    said = json.loads(tieline("dtab", "list", "-o", "json").stdout)["namespaces"]
    assert [each["deleted"] for each in said if each["namespace"] == made] == [True]
