from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from mesh.cli.main import application

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


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(application(), [str(argument) for argument in arguments], input=text)


@pytest.fixture
def tieline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tieline:
    """Runs a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIELINE_CONFIG", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return run


@pytest.fixture
def ask(tieline: Tieline, admin: AdminFake) -> Callable[..., object]:
    """Runs a command beside the fake agent; await it."""

    async def asking(*arguments: object) -> Result:
        return await asyncio.to_thread(tieline, *arguments, "--admin", admin.socket)

    return asking
