from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.running import TIELINE, control, folder

ONE = "/svc => /#/dc1 ;\n"
KEPT = re.compile(r"^Your text is in (\S+); `tieline (dtab|policy) set (\S+)` tries again$", re.MULTILINE)


@pytest.fixture
def edit(tieline, namespace, tmp_path: Path, monkeypatch):
    """Edits as a script does that is `$EDITOR`; `$1` is the file."""
    (tmp_path / "new").write_text(ONE)
    assert tieline("dtab", "set", "new").exit_code == 0
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("VISUAL", raising=False)

    def editing(script: str, *options: str, group: str = "dtab"):
        editor = tmp_path / "editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        monkeypatch.setenv("EDITOR", str(editor))
        return tieline(group, "edit", *options)

    return editing


def kept(said: str) -> Path:
    found = KEPT.search(said)
    assert found is not None, said
    assert found[1] == found[3]
    return Path(found[1])


def test_what_is_saved_is_in_force(edit, tieline, namespace, tmp_path: Path) -> None:
    done = edit("sed -i s/dc1/dc2/ $1", "-m", "dc1 is old")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"{namespace}: version 2 is in force"
    assert tieline("dtab", "get").stdout == "/svc => /#/dc2 ;\n"
    assert list(tmp_path.glob("tieline-*")) == []


def test_nothing_is_made_of_what_is_unchanged(edit, namespace, tmp_path: Path) -> None:
    for script in ("true", "echo >> $1"):
        done = edit(script)
        assert (done.exit_code, done.stdout) == (0, f"{namespace}: nothing to change, version 1 says the same\n")
    assert list(tmp_path.glob("tieline-*")) == []


def test_a_text_that_is_refused_is_kept(edit, tieline) -> None:
    done = edit("echo '/svc = /x' >> $1")
    assert done.exit_code == 1
    file = kept(done.stderr)
    assert file.read_text() == f"{ONE}/svc = /x\n"
    assert done.stderr.startswith(f"{file}:2:6: error: ")
    assert tieline("dtab", "get").stdout == ONE


def test_policies_are_edited_alike(edit, tieline) -> None:
    assert edit("echo '- {match: /svc/users}' > $1", group="policy").exit_code == 0
    assert tieline("policy", "get").stdout == "- {match: /svc/users}\n"
    assert kept(edit("echo '- {mtch: x}' > $1", group="policy").stderr).suffix == ".yaml"


def test_a_change_of_somebody_else_meanwhile_is_shown_and_left(edit, tieline, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("/svc => /#/dc2 ;\n")
    command = f"{TIELINE} dtab set {tmp_path}/theirs > /dev/null && echo '/svc/users => /#/dc1/users ;' >> $1"
    done = edit(command)
    assert done.exit_code == 1
    assert "it was changed meanwhile: " in done.stderr
    assert "has made version 2, and this was made from version 1" in done.stderr
    assert done.stdout.splitlines()[-5:] == [
        "--- table of version 1",
        "+++ table of version 2",
        "@@ -1 +1 @@",
        "-/svc => /#/dc1 ;",
        "+/svc => /#/dc2 ;",
    ]
    assert kept(done.stderr).read_text().endswith("/svc/users => /#/dc1/users ;\n")
    assert tieline("dtab", "get").stdout == "/svc => /#/dc2 ;\n"


@pytest.mark.parametrize(
    ("script", "said"), [("exit 3", "ended with 3; nothing was changed"), (None, "can't be started")]
)
def test_an_editor_that_fails(edit, tieline, monkeypatch, script: str | None, said: str) -> None:
    if script is None:
        monkeypatch.setenv("EDITOR", "/none")
        done = tieline("dtab", "edit")
    else:
        done = edit(script)
    assert done.exit_code == 1
    assert said in done.stderr
    assert kept(done.stderr).read_text() == ONE


def test_a_control_plane_that_is_gone_meanwhile(edit, tieline, monkeypatch, tmp_path: Path) -> None:
    with folder() as place, control(place, {}) as other:
        monkeypatch.setenv("TIELINE_CONTROL", str(other.socket))
        done = edit(f"echo '/svc => /$/inet/127.0.0.1 ;' > $1; kill -9 {other.process.pid}")
    assert done.exit_code == 3
    assert "the control plane can't be reached" in done.stderr
    assert kept(done.stderr).read_text() == "/svc => /$/inet/127.0.0.1 ;\n"


def test_at_a_terminal_it_may_be_edited_again(edit, terminal, tieline) -> None:
    edit("true")
    script = "if grep -q '= /x' $1; then sed -i 's/= /=> /' $1; else echo '/svc/a = /x ;' >> $1; fi"
    edit_file = terminal.folder / "editor"
    edit_file.write_text(f"#!/bin/sh\n{script}\n")
    code, seen = terminal("dtab", "edit", answers="y\ny\n")
    assert code == 0, seen
    assert ":2:8: error: " in seen
    assert "Edit it again?" in seen
    assert tieline("dtab", "get").stdout == f"{ONE}/svc/a => /x ;\n"
