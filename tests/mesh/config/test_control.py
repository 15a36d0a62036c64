"""The section `control`: what is warned of, and what never is shown."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from mesh.config.load import examine, load
from tests.mesh.config.test_load import CORPUS


def written(folder: Path, text: str) -> Path:
    (folder / "tieline.yaml").write_text(text)
    return folder / "tieline.yaml"


def test_an_agent_may_start_although_its_control_plane_could_not_know_it(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "control:\n  url: https://one.example\n  token_file: token\n"
        "  tls:\n    ca: ca.pem\n    cert: a.pem\n    key: a.key\n",
    )
    examined = examine(file)
    assert examined.config is not None
    assert [str(each).removeprefix(str(tmp_path) + "/") for each in examined.warnings] == [
        f"tieline.yaml:{line}: {key}: {tmp_path}/{name}: the file can't be read: no such file or directory. "
        "Give the path of a readable file"
        for line, key, name in (
            ("5:9", "control.tls.ca", "ca.pem"),
            ("6:11", "control.tls.cert", "a.pem"),
            ("3:15", "control.token_file", "token"),
        )
    ]


def test_files_that_are_there_are_no_doubt(tmp_path: Path) -> None:
    for name in ("edge.pem", "edge.key"):
        shutil.copy(CORPUS / name, tmp_path / name)
    tls = "{ca: edge.pem, cert: edge.pem, key: edge.key}"
    text = f"control: {{url: https://one.example, token_file: edge.key, tls: {tls}}}\n"
    assert examine(written(tmp_path, text)).warnings == ()


def test_one_url_is_a_list_of_one_and_the_name_is_the_hosts(tmp_path: Path) -> None:
    control = load(written(tmp_path, "control: {url: https://one.example/}\n")).control
    assert control is not None
    assert control.url == ("https://one.example",)
    assert control.name == socket.gethostname()


def test_the_control_planes_table_and_sources_are_not_doubted_for_being_elsewhere(tmp_path: Path) -> None:
    text = "control: {url: https://one.example}\ndtab: /svc => /#/consul/dc1\n"
    assert examine(written(tmp_path, text)).warnings == ()


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    (problem,) = examine(written(tmp_path, "control: {url: 'https://me:31415926@one.example'}\n")).errors
    assert "31415926" not in str(problem)
