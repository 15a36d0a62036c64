from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest


def test_no_agent_ends_with_3_and_one_line_that_says_what_to_do(tieline, tmp_path: Path) -> None:
    done = tieline("status", "--admin", tmp_path / "admin.sock")
    assert done.exit_code == 3
    assert done.stdout == ""
    assert done.stderr == (
        f"the agent can't be reached at {tmp_path}/admin.sock: there is no such socket. "
        "Start the agent (`tieline agent`), or name another with --admin or -c\n"
    )


def test_a_socket_that_nobody_listens_on(tieline, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "admin.sock"))
    done = tieline("status", "--admin", tmp_path / "admin.sock")
    assert done.exit_code == 3
    assert "nobody listens there" in done.stderr


def test_a_port_that_nobody_listens_on(tieline) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    done = tieline("status", "--admin", f"http://127.0.0.1:{port}")
    assert done.exit_code == 3
    assert f"http://127.0.0.1:{port}: nobody listens there" in done.stderr


@pytest.mark.parametrize("where", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:port"])
def test_an_address_that_is_none_ends_with_2(where: str, tieline) -> None:
    assert tieline("status", "--admin", where).exit_code == 2


async def test_something_else_than_an_agent_is_told_apart(tieline, tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_unix_server(greet, tmp_path / "other.sock"):
        done = await asyncio.to_thread(tieline, "status", "--admin", tmp_path / "other.sock")
    assert done.exit_code == 3
    assert "no JSON object. Is it a Tieline agent?" in done.stderr


async def test_what_the_agent_refuses_ends_with_1(ask, admin) -> None:
    admin.errors["/explain?name=%7B%7D"] = (400, "'{}' names no service")
    done = await ask("explain", "{}")
    assert done.exit_code == 1
    assert done.stderr == "the agent answered: '{}' names no service\n"


async def test_the_socket_is_found_by_the_configuration(tieline, admin, tmp_path: Path, monkeypatch) -> None:
    admin.answers["/names"] = {"names": []}
    (tmp_path / "tieline.yaml").write_text("run_dir: .\n")
    assert (await asyncio.to_thread(tieline, "names", "-c", "tieline.yaml")).exit_code == 0
    monkeypatch.setenv("TIELINE_CONFIG", str(tmp_path / "tieline.yaml"))
    assert (await asyncio.to_thread(tieline, "names")).exit_code == 0


async def test_the_socket_is_found_without_a_configuration(tieline, admin, tmp_path: Path, monkeypatch) -> None:
    admin.answers["/names"] = {"names": []}
    (tmp_path / "tieline").mkdir()
    os.link(tmp_path / "admin.sock", tmp_path / "tieline" / "admin.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TIELINE_CONFIG", "")
    assert (await asyncio.to_thread(tieline, "names")).exit_code == 0


def test_a_bad_configuration_is_told_instead_of_guessing_a_socket(tieline, tmp_path: Path) -> None:
    (tmp_path / "tieline.yaml").write_text("run_dri: .\n")
    done = tieline("names", "-c", "tieline.yaml")
    assert done.exit_code == 1
    assert done.stderr == "tieline.yaml:1:1: run_dri: unknown key. Did you mean 'run_dir'?\n"
