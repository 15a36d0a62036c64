"""Names whose endpoints stand in the files of a folder, one file a name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path as FilePath

from discovery.address import Addr, Neg
from discovery.files.changes import Changes
from discovery.files.reading import is_name, names, read
from discovery.files.records import SMALL_BYTES, Record, is_finished, listed, parse, small
from discovery.path import Path
from discovery.source import Misconfigured, Publish, Unavailable

SHORTEST_SECONDS = 1.0
Resolve = Callable[[str], Awaitable[tuple[tuple[str, ...], float]]]
"""A host's addresses and for how many seconds they are good. Raises Unavailable."""


class FilesSource:
    """`resolve`: without it, files may list IP addresses only."""

    def __init__(
        self,
        folder: FilePath,
        changes: Changes,
        resolve: Resolve | None = None,
        shortest_seconds: float = SHORTEST_SECONDS,
    ) -> None:
        self._shortest_seconds = shortest_seconds
        self._folder = folder
        self._changes = changes
        self._resolve = resolve

    async def observe(self, name: Path, publish: Publish) -> None:
        file, answered = name[0], False
        with self._changes.watched(file) as changed:
            while True:
                changed.clear()
                good_for: float | None = None
                if not self._changes.is_being_written(file):
                    addr, good_for = await self._read(file, answered)
                    publish(addr)
                    answered = True
                await _set_within(good_for, changed)

    async def names(self) -> Iterable[Path]:
        return [Path((name,)) for name in names(self._folder)]

    async def _read(self, name: str, answered: bool) -> tuple[Addr, float | None]:
        """What the file says, and for how many seconds; None: until it changes."""
        if not is_name(name):
            return Neg(), None
        try:
            data = read(self._folder, name)
        except Misconfigured as error:
            # It was there a moment ago, so it is not the configuration that is wrong.
            raise (Unavailable(str(error)) if answered else error) from error
        if data is None:
            return Neg(), None
        file = str(self._folder / name)
        if self._changes.is_still_open(name) and not is_finished(data):
            raise Unavailable(f"{file}: the last line has no end and the file's writer has not closed it")
        records, literal = small(file, data) if len(data) <= SMALL_BYTES else (parse(file, data), None)
        if literal is not None:
            return literal, None
        addresses, good_for = await self._addresses(file, records)
        return listed(records, addresses), good_for

    async def _addresses(
        self, file: str, records: tuple[Record, ...]
    ) -> tuple[dict[str, tuple[str, ...]], float | None]:
        addresses: dict[str, tuple[str, ...]] = {}
        good_for: list[float] = []
        for record in records:
            if record.is_address or record.host in addresses:
                continue
            if self._resolve is None:
                raise Misconfigured(f"{file}:{record.line}: an IP address expected, host names are not looked up here")
            addresses[record.host], seconds = await self._resolve(record.host)
            good_for.append(max(seconds, self._shortest_seconds))
            if not addresses[record.host]:
                raise Unavailable(f"{file}:{record.line}: no host {record.host!r}; correct the line or remove it")
        return addresses, min(good_for, default=None)


async def _set_within(seconds: float | None, changed: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
