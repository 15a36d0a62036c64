"""Watches a name: one connection, a line for every truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tieline_toy import records

from discovery.address import Neg
from discovery.path import Path
from discovery.source import Publish, Unavailable

LONGEST_LINE = 4 * 2**20


@dataclass(frozen=True, slots=True)
class ToySource:
    host: str
    port: int
    timeout: float

    async def observe(self, name: Path, publish: Publish) -> None:
        if not records.could_exist(name[0]):
            publish(Neg())
            await asyncio.get_running_loop().create_future()
        async with self._asked(f"WATCH {name[0]}") as (line, reader):
            while line:
                publish(records.addr(line))
                line = await reader.readline()

    async def names(self) -> Iterable[Path]:
        async with self._asked("NAMES") as (line, _):
            return records.names(line)

    @asynccontextmanager
    async def _asked(self, question: str) -> AsyncIterator[tuple[bytes, asyncio.StreamReader]]:
        """The first line of the answer, and where the others come from."""
        where = f"the registry at {self.host}:{self.port}"
        writer = None
        try:
            async with asyncio.timeout(self.timeout):
                reader, writer = await asyncio.open_connection(self.host, self.port, limit=LONGEST_LINE)
                writer.write(f"{question}\n".encode())
                line = await reader.readline()
            yield line, reader
        except TimeoutError as error:
            raise Unavailable(f"{where} has not answered within {self.timeout:g} s") from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"{where} can't be asked: {error}") from error
        finally:
            if writer is not None:
                writer.close()
