"""The names in use, on disk: so that a control plane that starts anew previews what was called within the last hour,
also what no agent has in use at that moment.

Written now and then and at the end, and replaced as a whole. Nothing else rests on it: a file that can't be written or
read costs these names, and a line in the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Final

from discovery.path import Path, PathSyntaxError
from mesh.control import status
from mesh.control.seen import Recalled, Seen

logger = logging.getLogger("tieline.control")

EVERY_SECONDS: Final = 60.0


@dataclass(slots=True)
class Recall:
    file: File
    seen: Seen
    every: float = EVERY_SECONDS
    failing: str | None = None
    """Why it could not be written last."""
    _written: Mapping[str, list[Recalled]] = field(default_factory=dict)

    async def keep(self) -> None:
        self.seen.recall(await asyncio.to_thread(self._read))
        try:
            while True:
                await asyncio.sleep(self.every)
                await asyncio.to_thread(self._write, self.seen.recollection())
        finally:
            self._write(self.seen.recollection())

    def _read(self) -> dict[str, list[Recalled]]:
        try:
            text = self.file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            return self._lost(error.strerror or str(error))
        try:
            return _read(json.loads(text))
        except (ValueError, status.Unreadable, PathSyntaxError) as error:
            return self._lost(f"it can't be read: {error}")

    def _lost(self, why: str) -> dict[str, list[Recalled]]:
        text = "which names were in use is not known; previews know those that agents report"
        logger.warning(text, extra={"fields": {"file": self.file, "error": why}})
        return {}

    def _write(self, known: Mapping[str, list[Recalled]]) -> None:
        if known == self._written:
            return
        rows = {namespace: [[each.router, each.path.show(), each.at] for each in of] for namespace, of in known.items()}
        fresh = self.file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(rows, separators=(",", ":")))
            fresh.replace(self.file)
        except OSError as error:
            self._fails(error.strerror or str(error))
            return
        self.failing, self._written = None, known

    def _fails(self, error: str) -> None:
        if self.failing is None:
            fields = {"file": self.file, "error": error}
            logger.warning("the names in use can't be written down", extra={"fields": fields})
        self.failing = error


def _read(said: object) -> dict[str, list[Recalled]]:
    """Raises Unreadable, PathSyntaxError."""
    namespaces = status.section(said, "the file")
    return {namespace: [_row(row) for row in _list(rows)] for namespace, rows in namespaces.items()}


def _row(row: object) -> Recalled:
    router, name, at = _list(row, 3)
    return Recalled(status.text(router, "router"), Path.parse(status.text(name, "name")), status.number(at, "at"))


def _list(value: object, length: int | None = None) -> list[object]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise status.Unreadable("a list expected")
    return value
