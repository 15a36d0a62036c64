from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_entry_point_ends_with_the_code_of_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from mesh.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "config", "check", tmp_path / "none.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "none.yaml: the file can't be read" in done.stderr


def test_an_agent_starts_without_what_other_commands_import(tmp_path: Path) -> None:
    code = (
        "import os, sys; from mesh.cli.main import main;"
        "os.execv = lambda *_: print(sorted(name for name in sys.modules if name.startswith('mesh.cli.')));"
        "sys.argv[1:] = ['agent', '-c', 'tieline.yaml']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "['mesh.cli.agent', 'mesh.cli.main', 'mesh.cli.options']\n"


def test_the_agent_is_the_same_command_alone_and_among_others(tieline) -> None:
    code = "import sys; from mesh.cli.main import main; sys.argv[1:] = ['agent', '--help']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == tieline("agent", "--help").stdout
