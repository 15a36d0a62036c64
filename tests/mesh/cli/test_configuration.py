from __future__ import annotations

import json
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_examples_are_good_and_leave_no_doubt(file: Path, tieline) -> None:
    done = tieline("config", "check", file)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{file}: ok (sources: ")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def test_warnings_are_told_and_end_with_0(tieline, tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text("dtab: /svc => /#/nowhere\n")
    done = tieline("config", "check", file)
    assert done.exit_code == 0
    assert done.stderr == (
        f"warning: {file}:1:15: dtab: /#/nowhere leads to no source. "
        "Add a source with this prefix, or correct it; sources here: none\n"
    )


def test_mistakes_as_json(tieline, tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text("log: {level: loud}\n")
    done = tieline("config", "check", file, "-o", "json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["ok"], told["warnings"]) == (False, [])
    [error] = told["errors"]
    assert (error["file"], error["line"], error["column"], error["key"]) == (str(file), 1, 14, "log.level")


def test_the_schema_is_printed(tieline) -> None:
    schema = json.loads(tieline("config", "schema").stdout)
    assert {"run_dir", "dtab", "sources", "routers"} <= set(schema["properties"])
