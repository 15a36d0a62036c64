from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
import yaml

from scripts.ports import free_port
from scripts.running import control, folder
from tests.certificates import Authority


def test_no_control_plane_ends_with_3_and_one_line_that_says_what_to_do(tieline, tmp_path: Path) -> None:
    done = tieline("dtab", "get", "--control", tmp_path / "control.sock")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        f"the control plane can't be reached at {tmp_path}/control.sock: there is no such socket. "
        "Start it (`tieline control`), or name another with --control\n"
    )


def test_a_port_that_nobody_listens_on(tieline) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    done = tieline("dtab", "get", "--control", f"http://127.0.0.1:{port}")
    assert done.exit_code == 3
    assert f"http://127.0.0.1:{port}: nobody listens there" in done.stderr


@pytest.mark.parametrize("where", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:port", "https://host/path"])
def test_an_address_that_is_none_ends_with_2(where: str, tieline) -> None:
    done = tieline("dtab", "get", "--control", where)
    assert done.exit_code == 2
    assert "https://HOST:PORT or the path of a Unix socket expected" in done.stderr


async def test_something_else_than_a_control_plane_is_told_apart(tieline, tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_unix_server(greet, tmp_path / "other.sock"):
        done = await asyncio.to_thread(tieline, "dtab", "get", "--control", tmp_path / "other.sock")
    assert done.exit_code == 3
    assert "no JSON object. Is it a Tieline control plane?" in done.stderr


def test_a_token_is_not_sent_where_others_can_read_it(tieline, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    done = tieline("dtab", "get", "--control", "http://192.0.2.1:4180", "--token-file", "token")
    assert (done.exit_code, done.stderr) == (
        2,
        "the token would go to 192.0.2.1 for everybody on the way to read. Use https://\n",
    )


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--token-file", "none"), 1, "none: the file can't be read: no such file or directory"),
        (("--token-file", "empty"), 1, "empty: a token expected, one line of printable characters"),
        (("--cert", "empty"), 2, "--cert and --key go together"),
        (("--ca", "empty"), 1, "empty: can't be used: "),
        (("--ca", "none"), 1, "none: the file can't be read"),
    ],
)
def test_files_that_can_not_be_used(tieline, tmp_path: Path, options, code: int, said: str) -> None:
    (tmp_path / "empty").write_text("")
    done = tieline("dtab", "get", "--control", "https://127.0.0.1:1", *options)
    assert done.exit_code == code
    assert said in done.stderr, done.stderr


def test_the_socket_of_this_host_is_found_by_itself(tieline, control_plane, monkeypatch) -> None:
    monkeypatch.delenv("TIELINE_CONTROL")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(control_plane.folder))
    (control_plane.folder / "tieline").symlink_to(control_plane.folder / "run")
    done = tieline("status", "--fleet")
    assert (done.exit_code, done.stderr) == (0, "")


def test_who_says_nothing_may_read_on_loopback_and_not_write(tieline, control_plane, tmp_path: Path) -> None:
    (tmp_path / "names.dtab").write_text("/svc => /#/dc1 ;\n")
    assert tieline("dtab", "set", "names.dtab").exit_code == 0
    assert tieline("dtab", "get", "--control", control_plane.url).stdout == "/svc => /#/dc1 ;\n"
    (tmp_path / "names.dtab").write_text("/svc => /#/dc2 ;\n")
    done = tieline("dtab", "set", "names.dtab", "--control", control_plane.url)
    assert done.exit_code == 1
    assert done.stderr.startswith("the control plane answered: this needs the role write")
    assert done.stderr.endswith("Here: --token-file FILE or $TIELINE_TOKEN_FILE\n")


def test_tokens_and_certificates_over_tls(tieline, tmp_path: Path, monkeypatch) -> None:
    authority = Authority()
    ca, stranger = authority.write(tmp_path), Authority("a stranger").write(tmp_path, "stranger")
    cert, key = authority.server("localhost").write(tmp_path, "control")
    ops_cert, ops_key = authority.server("ops").write(tmp_path, "ops")
    made = json.loads(tieline("control", "token", "ci", "--role", "write", "-o", "json").stdout)
    (tmp_path / "token").write_text(f"{made['token']}\n")
    (tmp_path / "other-token").write_text("tieline_other")
    grants = {"tokens": [made["entry"]], "certificates": [{"name": "ops", "role": "write"}]}
    (tmp_path / "tokens.yaml").write_text(yaml.safe_dump(grants))
    (tmp_path / "names.dtab").write_text("/svc => /$/inet/127.0.0.1 ;\n")
    tls, port = {"cert": str(cert), "key": str(key), "client_ca": str(ca)}, free_port()
    settings = {"listen": {"tls": tls, "port": port}, "tokens_file": str(tmp_path / "tokens.yaml"), "allow": "none"}
    with folder() as place, control(place, settings, port) as running:
        url = ("--control", f"https://localhost:{running.port}")
        trusting = (*url, "--ca", ca)
        assert tieline("dtab", "history", *trusting).exit_code == 1
        done = tieline("dtab", "set", "names.dtab", *trusting, "--token-file", "token")
        assert (done.exit_code, done.stderr) == (0, "")
        (tmp_path / "names.dtab").write_text("/svc => /$/inet/127.0.0.2 ;\n")
        done = tieline("dtab", "set", "names.dtab", *trusting, "--cert", ops_cert, "--key", ops_key)
        assert (done.exit_code, done.stderr) == (0, "")
        monkeypatch.setenv("TIELINE_TOKEN_FILE", str(tmp_path / "token"))
        versions = json.loads(tieline("dtab", "history", *trusting, "-o", "json").stdout)["versions"]
        assert [each["who"] for each in versions] == ["ops", "ci"]
        done = tieline("dtab", "get", *trusting, "--token-file", "other-token")
        assert done.exit_code == 1
        assert "this token is not known here" in done.stderr
        assert "tieline_other" not in done.stderr
        done = tieline("dtab", "get", *url, "--ca", stranger)
        assert done.exit_code == 3
        assert "its certificate is not to be trusted" in done.stderr
