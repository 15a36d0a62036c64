"""A brain in the test's own process, with a real Envoy that it serves: the test sees its parts and hears its events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mesh.agent.brain import serve, wired
from mesh.agent.plan import plan
from mesh.agent.wiring import Brain
from mesh.config.load import load
from mesh.control.version import Content, Version
from mesh.envoy.names import scope_resource
from mesh.xds.resource import SCOPE
from scripts.ports import free_port
from scripts.running import folder
from tests.envoy_process import EnvoyProcess, running
from tests.host import settings


def version(number: int, dtab: str | None, policies: str = "", namespace: str = "default") -> Version:
    content = None if dtab is None else Content(dtab, policies)
    return Version(namespace, number, 0.0, "test", "", content)


@dataclass(slots=True)
class InProcess:
    brain: Brain
    envoy: EnvoyProcess
    place: Path
    port: int
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, name: str, *ports: int) -> None:
        (self.place / "disco" / name).write_text("".join(f"127.0.0.1 {port}\n" for port in ports))

    async def take(self, offered: Version, *names: str) -> None:
        """Until it is in force, and Envoy has what became of these names."""
        self.brain.in_force.offer(offered)
        while self.brain.in_force.applied.fleet != offered:
            refused = self.brain.in_force.refused
            assert refused is None or refused.fleet != offered, refused
            await self.heard.wait()
            self.heard.clear()
        for name in names:
            assert await self.brain.ads.applied(SCOPE, scope_resource("http", name)) is None

    async def until_refused(self, offered: Version) -> str:
        self.brain.in_force.offer(offered)
        while (refused := self.brain.in_force.refused) is None or refused.fleet != offered:
            await self.heard.wait()
            self.heard.clear()
        return refused.reason


@contextlib.asynccontextmanager
async def in_process(dtab: str = "", place: Path | None = None, **more: object) -> AsyncIterator[InProcess]:
    with contextlib.ExitStack() as stack:
        place = place or stack.enter_context(folder())
        file, port = place / "tieline.yaml", free_port()
        defaults: dict[str, object] = {
            "run_dir": str(place / "run"),
            "state_dir": str(place / "state"),
            "admin": {"port": None},
            "control": {"url": "http://127.0.0.1:1"},
            "routers": [{"name": "http", "port": port}],
            "log": {"level": "warning"},
        }
        file.write_text(yaml.safe_dump({**defaults, **settings(place / "disco", dtab, more)}))
        config = load(file)
        bootstrap = json.loads(str(plan(config, file)["bootstrap"]))
        async with wired(config, place) as brain, asyncio.TaskGroup() as tasks, running(bootstrap, place) as envoy:
            it = InProcess(brain, envoy, place, port)
            changed, stop = brain.in_force.changed, asyncio.Event()

            def heard() -> None:
                changed()
                it.heard.set()

            brain.in_force.changed = heard
            tasks.create_task(serve(brain, None, stop))
            await envoy.ready()
            async with asyncio.timeout(20):
                while not brain.ready:  # noqa: ASYNC110 - Envoy's port is open
                    await asyncio.sleep(0.01)
            try:
                yield it
            finally:
                stop.set()
        assert brain.nacks.rows() == []
