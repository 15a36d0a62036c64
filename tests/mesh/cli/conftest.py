from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from mesh.cli.application import application
from scripts.running import TIELINE, ControlPlane, control, folder

Tieline = Callable[..., Result]


@dataclass
class AdminFake:
    """Speaks the agent's admin API: answers what it was told to, refuses and remembers anything else."""

    socket: Path
    answers: dict[str, object] = field(default_factory=dict)
    errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        asked = request.path_qs
        if asked in self.answers:
            return web.json_response(self.answers[asked])
        if asked in self.errors:
            status, error = self.errors[asked]
            return web.json_response({"error": error}, status=status)
        self.unknown.append(asked)
        return web.json_response({"error": f"the fake knows no {asked}"}, status=500)


SOURCES: list[dict[str, object]] = [
    {"kind": "static", "prefix": "dc1", "names": {"users": ["10.0.0.1:80", "10.0.0.2:80"], "orders": ["10.0.0.3:80"]}},
    {"kind": "static", "prefix": "dc2", "names": {"users": ["10.0.1.1:80"], "orders": ["10.0.1.3:80"]}},
]


@pytest.fixture(scope="module")
def control_process() -> Iterator[ControlPlane]:
    """A real one, for all tests of a file."""
    with folder() as place, control(place, {"sources": SOURCES}) as running:
        yield running


@pytest.fixture
def control_plane(tieline: Tieline, control_process: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    """Where commands find it."""
    monkeypatch.setenv("TIELINE_CONTROL", str(control_process.socket))
    return control_process


@pytest.fixture
def namespace(request: pytest.FixtureRequest, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of its own for each test; commands are about it."""
    name = re.sub(r"\W", "_", request.node.name)[:90]
    monkeypatch.setenv("TIELINE_NAMESPACE", name)
    return name


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[AdminFake]:
    fake = AdminFake(tmp_path / "admin.sock")
    app = web.Application()
    app.router.add_get("/{any:.*}", fake.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(fake.socket)).start()
    yield fake
    await runner.cleanup()
    assert fake.unknown == []


@dataclass
class Terminal:
    """Runs commands as somebody does who sits at a terminal, in processes of their own."""

    folder: Path

    def __call__(self, *arguments: object, answers: str = "", **environment: str) -> tuple[int, str]:
        """How it ended, and all that was to be seen. `answers`: what is typed."""
        leader, follower = pty.openpty()
        tty.setraw(follower)
        command = [TIELINE, *map(str, arguments)]
        variables = {**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment}
        with subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, cwd=self.folder, env=variables
        ) as process:
            os.close(follower)
            os.write(leader, answers.encode())
            seen = b"".join(iter(lambda: _read(leader), b""))
            os.close(leader)
        return process.returncode, seen.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Nobody has it open any more.
        return b""


@pytest.fixture
def terminal(tieline: Tieline, tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(application(), [str(argument) for argument in arguments], input=text)


@pytest.fixture
def tieline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tieline:
    """Runs a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIELINE_CONFIG", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    for variable in ("TIELINE_CONTROL", "TIELINE_TOKEN_FILE", "TIELINE_NAMESPACE"):
        monkeypatch.delenv(variable, raising=False)
    return run


@pytest.fixture
def ask(tieline: Tieline, admin: AdminFake) -> Callable[..., object]:
    """Runs a command beside the fake agent; await it."""

    async def asking(*arguments: object) -> Result:
        return await asyncio.to_thread(tieline, *arguments, "--admin", admin.socket)

    return asking
