"""A host under test: an agent with its real Envoy, and a folder its files source reads. Any NACK fails the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from scripts.running import Agent, agent, eventually, folder

PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def err(self) -> str:
        return self.headers.get("l5d-err", "")


@dataclass(frozen=True, slots=True)
class Host:
    agent: Agent
    disco: Path

    def put(self, name: str, *ports: int, lines: str | None = None) -> None:
        """Atomically, as the source's README asks for."""
        fresh = self.disco / f".{name}"
        fresh.write_text("".join(f"127.0.0.1 {port}\n" for port in ports) if lines is None else lines)
        fresh.rename(self.disco / name)

    def remove(self, name: str) -> None:
        (self.disco / name).unlink()

    async def call(
        self, name: str, path: str = "/", method: str = "GET", port: int | None = None, **headers: str
    ) -> Answer:
        """`port`: another router's than the first."""
        url = self.agent.url if port is None else f"http://127.0.0.1:{port}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url + path, headers={"host": name, **headers}, allow_redirects=False) as response,
        ):
            said = {key.lower(): value for key, value in response.headers.items()}
            return Answer(response.status, said, await response.text())

    async def json(self, target: str) -> dict[str, object]:
        status, text = await self.agent.ask(target)
        assert status == 200, text
        answer: dict[str, object] = json.loads(text)
        return answer

    async def names(self) -> dict[str, dict[str, object]]:
        rows = (await self.json("/names"))["names"]
        assert isinstance(rows, list)
        return {row["key"]: row for row in rows}

    async def until(self, name: str, body: str) -> None:
        """Until a call of `name` is answered by the service that says `body`."""

        async def answered() -> bool:
            return (await self.call(name)).body == body

        await eventually(answered, PATIENCE, f"{name} is not answered by {body!r}\n{self.agent.tail()}")

    async def no_nacks(self) -> None:
        assert (await self.json("/status"))["nacks"] == []


def settings(disco: Path, dtab: str, more: dict[str, object]) -> dict[str, object]:
    disco.mkdir(exist_ok=True)
    return {
        "dtab": dtab,
        "sources": [{"kind": "files", "folder": str(disco), "confirm_after": "200ms", "last_resort": 0}],
        **more,
    }


@contextmanager
def running(dtab: str = "/svc => /#/files", **more: object) -> Iterator[Host]:
    """Started, perhaps not ready yet."""
    with folder() as place, agent(place, settings(place / "disco", dtab, more)) as started:
        try:
            yield Host(started, place / "disco")
        finally:
            refused = [line for line in started.log.read_text().splitlines() if "Envoy refused" in line]
            assert not refused, refused


@asynccontextmanager
async def host(dtab: str = "/svc => /#/files", **more: object) -> AsyncIterator[Host]:
    with running(dtab, **more) as started:
        await started.agent.until_ready()
        yield started


def rewrite(config: Path, **changes: object) -> None:
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **changes}))
