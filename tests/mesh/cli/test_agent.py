from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-c", "from mesh.cli.main import main; main()", "agent"]


def ran(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The process becomes the supervisor, so it is one of its own."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_bad_configuration_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text("routers: [{port: x}]\nlgo: {}\n")
    done = ran(tmp_path, "-c", str(file))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"{file}:1:18: routers[0].port: a whole number expected, not 'x'. Write for example `port: 4140`",
        f"{file}:2:1: lgo: unknown key. Did you mean 'log'?",
    ]


def test_the_configuration_is_found_by_the_environment(tmp_path: Path) -> None:
    done = ran(tmp_path, TIELINE_CONFIG=str(tmp_path / "there.yaml"))
    assert f"{tmp_path}/there.yaml: the file can't be read" in done.stderr


def test_the_process_becomes_the_supervisor_with_an_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "tieline.yaml").write_text("run_dir: tieline.yaml/below\ndtab: /svc => /$/inet/127.0.0.1/80\n")
    done = ran(tmp_path, "-c", "tieline.yaml")
    assert done.returncode == 1
    assert f"{tmp_path}/tieline.yaml/below: Not a directory; choose a run_dir the agent may write to" in done.stderr
