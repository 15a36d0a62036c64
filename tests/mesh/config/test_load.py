"""Every file under corpus/ is a case: `*.bad.yaml` begins with the problems expected, one a comment line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mesh.config.load import examine, load
from mesh.config.model import Config
from mesh.config.problem import ConfigError
from mesh.config.schema import schema

CORPUS = Path(__file__).parent / "corpus"
BAD = sorted(CORPUS.glob("*.bad.yaml"))
GOOD = sorted(CORPUS.glob("*.good.yaml"))


def expected(file: Path) -> list[str]:
    lines = file.read_bytes().decode(errors="replace").splitlines()
    comments = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return [line for line in comments if line.startswith((file.name, "broken.dtab", "policies_"))]


def shown(problems: tuple[object, ...]) -> list[str]:
    return [str(problem).replace(f"{CORPUS}/", "") for problem in problems]


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.name)
def test_a_bad_file_is_refused_with_each_mistake_named(file: Path) -> None:
    assert expected(file)
    assert shown(examine(file).errors) == expected(file)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.name)
def test_a_good_file_is_accepted(file: Path) -> None:
    assert examine(file).errors == ()
    assert isinstance(load(file), Config)


def test_load_raises_what_examine_tells() -> None:
    with pytest.raises(ConfigError) as caught:
        load(CORPUS / "several.bad.yaml")
    assert caught.value.problems == examine(CORPUS / "several.bad.yaml").errors
    assert str(caught.value).count("\n") == len(caught.value.problems) - 1 == 3


def test_there_are_enough_bad_files() -> None:
    assert len(BAD) >= 35


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys_of(inner)
    if isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def test_every_key_stands_in_a_good_file() -> None:
    written = {key for file in GOOD for key in keys_of(yaml.safe_load(file.read_text()))}
    described = schema()
    sections = [described, *described["$defs"].values()]  # type: ignore[attr-defined]
    known = {key for section in sections for key in section.get("properties", ())}  # type: ignore[union-attr]
    assert len(known) > 40
    assert known - written == set()


def test_a_file_that_is_not_there_is_a_problem_without_a_line(tmp_path: Path) -> None:
    [problem] = examine(tmp_path / "none.yaml").errors
    assert str(problem) == (
        f"{tmp_path}/none.yaml: the file can't be read: no such file or directory. Give the path of a readable file"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    [problem] = examine(tmp_path).errors
    assert "is a directory" in problem.message


def test_a_file_in_utf_16_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wide.yaml"
    file.write_text("log: {level: info}\n", encoding="utf-16")
    [problem] = examine(file).errors
    assert (problem.line, problem.column, problem.hint) == (1, 1, "Save the file as UTF-8")


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "marked.yaml"
    file.write_text("log: {level: debug}\n", encoding="utf-8-sig")
    assert load(file).log.level == "debug"


def test_relative_places_are_seen_from_the_folder_of_the_file() -> None:
    config = load(CORPUS / "full.good.yaml")
    assert config.run_dir == CORPUS / "run"
    assert config.admin_socket == CORPUS / "run" / "admin.sock"
    assert config.state_dir == Path("/var/lib/tieline")
    assert config.envoy.binary == CORPUS / "bin" / "envoy"
    described = repr(config.sources)
    assert f"{CORPUS}/disco" in described
    assert f"{CORPUS}/token" in described
    assert f"{CORPUS}/ca.pem" in described


def test_a_dentry_knows_its_line_in_the_configuration() -> None:
    dentries = load(CORPUS / "full.good.yaml").dtab
    assert [dentry.line for dentry in dentries] == [5, 7]
    assert {dentry.where for dentry in dentries} == {str(CORPUS / "full.good.yaml")}


def test_a_dentry_of_a_table_in_its_own_file_knows_that_file() -> None:
    [dentry] = load(CORPUS / "dtab_file.good.yaml").dtab
    assert (dentry.where, dentry.line) == (str(CORPUS / "names.dtab"), 1)


def test_no_secret_is_shown() -> None:
    config = load(CORPUS / "full.good.yaml")
    assert "hush" not in repr(config) + config.model_dump_json()


def test_a_secret_of_the_wrong_type_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text("sources:\n- kind: consul\n  token: 31415926\n  address: http://me:27182818@consul\n")
    text = "\n".join(str(problem) for problem in examine(file).errors)
    assert "sources[0].token: text expected" in text
    assert "sources[0].address:" in text
    assert "31415926" not in text
    assert "27182818" not in text


def test_an_empty_table_is_doubted() -> None:
    [warning] = examine(CORPUS / "empty.good.yaml").warnings
    assert warning.message == "the table is empty, so that every name is missing"


def test_a_table_that_leads_to_no_source_is_doubted_at_its_place(tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text(
        "sources: [{kind: static}]\ndtab: |\n  /svc => /#/static ;\n  /old => 2 * /#/nowhere/x & /#/static/y ;\n"
    )
    [warning] = examine(file).warnings
    assert str(warning) == (
        f"{file}:4:15: dtab: /#/nowhere/x leads to no source. "
        "Add a source with this prefix, or correct it; sources here: /#/static"
    )


def test_a_leaf_shorter_than_a_prefix_is_not_doubted(tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text("sources: [{kind: static}]\ndtab: /svc => /#\n")
    assert examine(file).warnings == ()


def test_reading_a_configuration_needs_no_protobuf() -> None:
    code = "import sys, mesh.config.load; print({'google', 'grpc', 'envoy', 'aiohttp', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
