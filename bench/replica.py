"""A replica of the control plane in a process of its own, on one core. For bench.fanout.

    python -m bench.replica PORT FOLDER

observes FOLDER (`kind: files`) for whoever connects to `ws://127.0.0.1:PORT/v1/agent`, and prints a line when it does.
A line on its input makes the next version of the table. Tables are in memory: a store is another benchmark's affair.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop
from aiohttp import web

from bench.lean_agents import raise_limit
from discovery.files.config import FilesConfig
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.remote.frames import Hello
from discovery.remote.offers import offered
from mesh.control.hub import Hub
from mesh.control.stream import Streams
from tests.mesh.control.ends import Kept

CORE = 0
BACKLOG = 4096


class _Reports:
    def joined(self, agent: str, hello: Hello, address: str) -> None:
        pass

    def reported(self, agent: str, report: Mapping[str, object]) -> None:
        pass

    def left(self, agent: str) -> None:
        pass


async def _serve(port: int, folder: Path) -> None:
    tables = Kept()
    tables.put("/svc => /#/files")
    config = FilesConfig(folder=folder)
    # As configured by default, but a lost endpoint is believed at once: each change here replaces one.
    settings = Settings(resync=config.resync, confirm_after=0.0, damping=0.0)
    async with config.open() as source:
        entry = SourceEntry(config.root, config.kind, 1, source, settings, freshness=config.freshness)
        async with Observatory([entry], lambda name, state: hub.changed(name, state)) as observatory:
            hub = Hub(observatory, offered([entry]), tables)
            streams = Streams(hub, _Reports(), version="0.1.0", replica="bench", admits=lambda *_: None)
            application = web.Application()
            application.router.add_get("/v1/agent", streams.agents)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, backlog=BACKLOG).start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(hub.keep())
                await _obey(tables)


async def _obey(tables: Kept) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("serving", flush=True)
    number = 1
    while await reader.readline():
        number += 1
        tables.put(f"/svc => /#/files | /#/table-{number}", number=number)
    os._exit(0)


def main() -> None:
    os.sched_setaffinity(0, {CORE})
    raise_limit()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))


if __name__ == "__main__":
    main()
