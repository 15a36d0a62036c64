"""A content judged before it is in force: what is wrong with it, and what it would do to the names in use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from discovery.observatory import Observatory, SourceEntry
from discovery.path import Path
from mesh.control import lint
from mesh.control.api.shapes import Json
from mesh.control.api.writing import Judgement
from mesh.control.effect import Rules
from mesh.control.explaining import rules
from mesh.control.lint import Read
from mesh.control.preview import Preview, as_json
from mesh.control.previewing import Previewing
from mesh.control.seen import Seen
from mesh.control.version import Content
from mesh.naming.bind import Namer
from mesh.policy.effective import Policies


@dataclass(slots=True)
class Judging:
    """`seconds`: how long the last preview took; None: there was none."""

    seen: Seen
    previewing: Previewing
    observatory: Observatory
    entries: Sequence[SourceEntry]
    namers: Sequence[Namer]
    seconds: float | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def lint(self, namespace: str, content: Content) -> list[Json]:
        names = [use.path for use in self.seen.uses(namespace, self.namers)]
        read = await asyncio.to_thread(lint.read, content)
        return await self._linted(namespace, content, read, names, None)

    async def judge(self, namespace: str, before: Content, after: Content, limit: float) -> Judgement:
        uses, read = self.seen.uses(namespace, self.namers), await asyncio.to_thread(lint.read, after)
        seen = None
        if read.dtab is not None and read.policies is not None:
            wanted = Rules(read.dtab, Policies([each.entry for each in read.policies]))
            began = time.monotonic()
            seen = await self.previewing.preview(uses, await asyncio.to_thread(rules, before), wanted, limit)
            self.seconds = time.monotonic() - began
        problems = await self._linted(namespace, after, read, [use.path for use in uses], seen)
        return Judgement(problems, None if seen is None else as_json(seen))

    async def _linted(
        self, namespace: str, content: Content, read: Read, names: Sequence[Path], seen: Preview | None
    ) -> list[Json]:
        """In a thread, because a long table takes a while; one after the other, because there are few."""
        async with self._one:
            found = await asyncio.to_thread(lint.lint, content, read, self._roots(namespace), names, seen)
        return [each.json() for each in found]

    def _roots(self, namespace: str) -> list[Path]:
        return sorted({*(entry.root for entry in self.entries), *self.seen.roots(namespace)})
