from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_bad_configuration_is_refused_before_anything_starts(tieline, tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text("routers: [{port: x}]\nlgo: {}\n")
    done = tieline("agent", "-c", file)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"{file}:1:18: routers[0].port: a whole number expected, not 'x'. Write for example `port: 4140`",
        f"{file}:2:1: lgo: unknown key. Did you mean 'log'?",
    ]


def test_the_configuration_is_found_by_the_environment(tieline, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TIELINE_CONFIG", str(tmp_path / "there.yaml"))
    assert f"{tmp_path}/there.yaml: the file can't be read" in tieline("agent").stderr


def test_the_process_becomes_the_supervisor_with_an_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "tieline.yaml").write_text("run_dir: tieline.yaml/below\ndtab: /svc => /$/inet/127.0.0.1/80\n")
    command = [sys.executable, "-c", "from mesh.cli.main import main; main()", "agent", "-c", "tieline.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path}/tieline.yaml/below: Not a directory; choose a run_dir the agent may write to" in done.stderr
