"""Every file under corpus/ is a case, as those of the agent's: `*.bad.yaml` begins with the problems expected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mesh.config.problem import ConfigError
from mesh.control.config import ControlConfig
from mesh.control.grants import digest
from mesh.control.load import examine, load
from tests.certificates import Authority

CORPUS = Path(__file__).parent / "corpus"
BAD = sorted(CORPUS.glob("*.bad.yaml"))
GOOD = sorted(CORPUS.glob("*.good.yaml"))


def expected(file: Path) -> list[str]:
    return [line.removeprefix("# ") for line in file.read_text().splitlines() if line.startswith("# ")]


def shown(problems: tuple[object, ...]) -> list[str]:
    return [str(problem).replace(f"{CORPUS}/", "") for problem in problems]


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.name)
def test_a_bad_file_is_refused_with_each_mistake_named(file: Path) -> None:
    assert expected(file)
    assert shown(examine(file).errors) == expected(file)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.name)
def test_a_good_file_is_accepted(file: Path) -> None:
    examined = examine(file)
    assert (examined.errors, examined.warnings) == ((), ())
    assert isinstance(load(file), ControlConfig)


def test_load_raises_what_examine_tells() -> None:
    with pytest.raises(ConfigError) as caught:
        load(CORPUS / "several.bad.yaml")
    assert caught.value.problems == examine(CORPUS / "several.bad.yaml").errors


def test_files_and_folders_are_relative_to_the_configuration() -> None:
    config = load(CORPUS / "all.good.yaml")
    assert config.kept_in.model_dump()["file"] == CORPUS / "tables.sqlite"
    assert config.state_dir == CORPUS / "state"


def test_without_a_store_there_is_a_file_in_the_state_folder() -> None:
    config = load(CORPUS / "empty.good.yaml")
    assert config.kept_in.kind == "sqlite"
    assert config.kept_in.model_dump()["file"] == config.state_dir / "control.sqlite"


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys_of(inner)


def test_every_key_of_the_control_plane_stands_in_a_file_of_the_corpus() -> None:
    written = {key for file in (*GOOD, *BAD) for key in keys_of(yaml.safe_load(file.read_text().replace("{\n", "")))}
    described = ControlConfig.model_json_schema()
    sections = [described, *(described["$defs"][name] for name in ("Listen", "ListenTls", "Preview", "Journal"))]
    known = {key for section in sections for key in section["properties"]}
    assert len(known) > 15
    assert known - written == set()


def test_every_key_says_what_it_is_for() -> None:
    described = ControlConfig.model_json_schema()
    for name in ("Listen", "ListenTls", "Preview", "Journal"):
        for key, said in described["$defs"][name]["properties"].items():
            assert said.get("description"), (name, key)
    assert all(said.get("description") for said in described["properties"].values())


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """An address that others can reach, with all that this needs."""
    authority = Authority()
    authority.server("control.example.org").write(tmp_path, "control")
    authority.write(tmp_path)
    (tmp_path / "tokens.yaml").write_text(f"tokens: [{{name: ci, role: write, sha256: {digest('x')}}}]\n")
    tls = "{cert: control.pem, key: control.key, client_ca: ca.pem}"
    file = tmp_path / "control.yaml"
    file.write_text(f"listen:\n  address: 0.0.0.0\n  tls: {tls}\ntokens_file: tokens.yaml\n")
    return file


def test_an_address_that_others_can_reach_is_accepted_with_tls_and_tokens(remote: Path) -> None:
    examined = examine(remote)
    assert (examined.errors, examined.warnings) == ((), ())
    assert examined.config is not None
    assert not examined.config.lets_strangers_read


def test_strangers_who_may_read_there_are_a_warning(remote: Path) -> None:
    remote.write_text(remote.read_text() + "allow: read\n")
    [warning] = examine(remote).warnings
    assert str(warning).startswith(f"{remote}:5:8: allow: whoever reaches 0.0.0.0 may read")


def test_a_key_of_another_certificate_is_refused(remote: Path) -> None:
    Authority("another").server("other").write(remote.parent, "other")
    remote.write_text(remote.read_text().replace("key: control.key", "key: other.key"))
    [error] = examine(remote).errors
    assert "this is not the key of" in str(error)


def test_on_loopback_who_has_no_token_may_read() -> None:
    config = load(CORPUS / "empty.good.yaml")
    assert config.lets_strangers_read
    assert not load(CORPUS / "all.good.yaml").lets_strangers_read


def test_replicas_of_a_store_that_nobody_shares_are_doubted(tmp_path: Path) -> None:
    file = tmp_path / "control.yaml"
    file.write_text("replicas: {url: 'https://control-2.example:4180'}\n")
    (warning,) = examine(file).warnings
    assert str(warning) == (
        f"{file}:1:11: replicas: the store is a file of this machine, which replicas on others do not share. "
        "Use `consul` or `etcd` as the store, or leave `replicas` away"
    )
