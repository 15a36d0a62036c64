from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = [
    "agent",
    "apply",
    "control",
    *(f"ca {name}" for name in ("init", "issue", "renew", "rotate", "show")),
    *(f"control {name}" for name in ("check", "token")),
    "explain",
    "lint",
    "names",
    "preview",
    "shift",
    "status",
    "version",
    *(
        f"dtab {name}"
        for name in ("check", "delete", "diff", "edit", "eval", "get", "history", "list", "rollback", "set", "sign")
    ),
    *(f"policy {name}" for name in ("diff", "edit", "get", "history", "set")),
    "config check",
    "config schema",
]
GROUPS = ("ca", "config", "control", "dtab", "policy")


def test_every_command_is_listed(tieline) -> None:
    listed = re.findall(r"^  ([a-z]+) ", tieline("--help").stdout.split("Commands:")[1], re.MULTILINE)
    inner = [
        f"{group} {name}"
        for group in GROUPS
        for name in re.findall(r"^  ([a-z]+) ", tieline(group, "--help").stdout.split("Commands:")[1], re.MULTILINE)
    ]
    assert sorted([name for name in listed if name == "control" or name not in GROUPS] + inner) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_documented(command: str, tieline) -> None:
    manual = (ROOT / "docs" / "cli.md").read_text()
    heading = command.partition(" ")[0] if command.startswith("policy ") else command
    section = manual.split(f"## `tieline {heading}")[1].split("\n## ")[0]
    if "#the-control-plane" in section:
        section += manual.split("## The control plane\n")[1].split("\n## ")[0]
    said = tieline(*command.split(), "--help")
    assert said.exit_code == 0
    for option in set(re.findall(r"--[a-z-]+", said.stdout)) - {"--help"}:
        assert f"`{option}" in section, option
    assert any(f"tieline {command}" in block for block in section.split("```")[1::2]), "an example"


def test_a_wrong_command_line_ends_with_2(tieline) -> None:
    assert tieline("explian", "users").exit_code == 2
    assert tieline("explain").exit_code == 2
    assert tieline("status", "-o", "xml").exit_code == 2


def test_version_imports_nothing_slow() -> None:
    code = (
        "import sys; from mesh.cli.application import application; application()(['version'], standalone_mode=False);"
        "slow = {'aiohttp', 'rich', 'grpc', 'yaml', 'google', 'mesh.naming.dtab'} & set(sys.modules);"
        "print('slow:', sorted(slow))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tieline " in done.stdout
    assert "slow: []" in done.stdout
