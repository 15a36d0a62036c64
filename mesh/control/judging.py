"""A content judged before it is in force: what is wrong with it, and what it would do to the names in use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from discovery.observatory import Observatory, SourceEntry
from discovery.path import Path
from mesh.control import lint
from mesh.control.api.shapes import Json
from mesh.control.api.writing import Judgement
from mesh.control.effect import Rules
from mesh.control.explaining import rules
from mesh.control.gathering import Gathering
from mesh.control.in_use import InUse
from mesh.control.lint import Read
from mesh.control.preview import Preview, as_json
from mesh.control.previewing import Previewing
from mesh.control.version import Content
from mesh.naming.bind import Namer
from mesh.policy.effective import Policies


@dataclass(slots=True)
class Judging:
    """`seconds`: how long the last preview took; None: there was none."""

    gathering: Gathering
    previewing: Previewing
    observatory: Observatory
    entries: Sequence[SourceEntry]
    namers: Sequence[Namer]
    seconds: float | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def lint(self, namespace: str, content: Content) -> list[Json]:
        gathered = await self.gathering.gathered(namespace)
        read = await asyncio.to_thread(lint.read, content)
        return await self._linted(gathered.in_use, content, read, None)

    async def judge(self, namespace: str, before: Content, after: Content, limit: float) -> Judgement:
        gathered = await self.gathering.gathered(namespace)
        read, seen = await asyncio.to_thread(lint.read, after), None
        if read.dtab is not None and read.policies is not None:
            wanted = Rules(read.dtab, Policies([each.entry for each in read.policies]))
            began = time.monotonic()
            uses = gathered.in_use.uses(self.namers)
            seen = await self.previewing.preview(uses, await asyncio.to_thread(rules, before), wanted, limit)
            seen = replace(seen, silent=gathered.silent)
            self.seconds = time.monotonic() - began
        problems = await self._linted(gathered.in_use, after, read, seen)
        return Judgement(problems, None if seen is None else as_json(seen))

    async def _linted(self, in_use: InUse, content: Content, read: Read, seen: Preview | None) -> list[Json]:
        """In a thread, because a long table takes a while; one after the other, because there are few."""
        async with self._one:
            found = await asyncio.to_thread(lint.lint, content, read, self._roots(in_use), in_use.paths(), seen)
        return [each.json() for each in found]

    def _roots(self, in_use: InUse) -> list[Path]:
        return sorted({*(entry.root for entry in self.entries), *in_use.roots()})
