"""An instance dies and its source is not there to say so. What can't be reached is tried elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from demo.calls import Load
from scripts.running import eventually, service
from tests.host import PATIENCE
from tests.scenarios.fleet import Fleet, Name, each

KINDS = ("consul",)
LABELS = tuple(f"dying-{number}" for number in range(4))
TABLE = each(*LABELS)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def working(answer: str) -> AsyncIterator[int]:
    """As `service`, and it takes some milliseconds, so that it is busier than one that takes no connection."""
    response = f"HTTP/1.1 200 OK\r\ncontent-length: {len(answer)}\r\n\r\n{answer}".encode()
    writers: set[asyncio.StreamWriter] = set()

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(0.02)
                writer.write(response)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answered, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def dies(users: Name, steady: int) -> Load:
    async with service("dies") as port:
        await users.begin(steady, port)
        await users.until_ports(steady, port)
        await users.platform.go_dark()
        await users.until_held()
    async with users.load(callers=4) as seen:
        await eventually(lambda: (seen.answers + seen.failed).total() > 100, PATIENCE, "the load stopped")
    await users.platform.come_back()
    return seen


async def test_an_instance_that_dies_while_its_source_is_away_costs_no_request(fleet: Fleet) -> None:
    failed: Counter[str] = Counter()
    async with working("steady") as steady:
        for label in LABELS:
            seen = await dies(fleet.name(label, "consul"), steady)
            failed += seen.failed
            assert set(seen.answers) == {"steady"}
    assert failed == Counter()
