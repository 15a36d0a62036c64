"""A control plane in a process of its own, so that it can be killed: a table and a folder of names, on the real stream.

python -m tests.control_process PORT FOLDER TABLE
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from aiohttp import web

from discovery.files.config import FilesConfig
from discovery.observatory import Observatory
from discovery.remote.offers import offered
from mesh.agent.entries import opened
from mesh.control.hub import Hub
from mesh.control.stream import Streams
from scripts.running import end
from tests.manual import ROOT
from tests.mesh.control.ends import Bell, Heard, Kept


async def serve(port: int, folder: Path, dtab: str) -> None:
    tables = Kept()
    tables.put(dtab)
    async with AsyncExitStack() as stack:
        config = FilesConfig(kind="files", prefix="shared", folder=folder, confirm_after="200ms", last_resort=0)  # type: ignore[arg-type]
        entries = [await opened(stack, config, 2.0)]
        observatory = Observatory(entries, lambda name, state: hub.changed(name, state))
        await stack.enter_async_context(observatory)
        hub = Hub(observatory, offered(entries), tables)
        streams = Streams(hub, Heard(Bell()), version="0.1.0", replica="killed", admits=lambda _request, _hello: None)
        application = web.Application()
        application.router.add_get("/v1/agent", streams.agents)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        print("ready", flush=True)
        await hub.keep()


@contextmanager
def control_process(port: int, folder: Path, dtab: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.control_process", str(port), str(folder), dtab]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdout.close()
        yield process
    finally:
        end(process)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
