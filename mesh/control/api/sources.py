"""`/v1/sources`: how fresh each of them is, as an agent's status tells it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from discovery.observatory import Observatory, SourceEntry
from mesh.agent.sources import row, surveys
from mesh.control.api.route import Answer, AnyRoute, Asked, NoBody, NoQuery, read
from mesh.control.api.shapes import Sources


@dataclass(frozen=True, slots=True)
class SourceRoutes:
    observatory: Observatory
    entries: Sequence[SourceEntry]

    def routes(self) -> list[AnyRoute]:
        return [read("/v1/sources", "The sources, and how fresh each is.", self._all, Sources, NoQuery)]

    async def _all(self, _asked: Asked[NoQuery, NoBody]) -> Answer:
        return Answer({"sources": self.rows()})

    def rows(self) -> list[dict[str, object]]:
        found, now = surveys(self.observatory, self.entries), time.time()
        return [row(each, found[each.root], self.observatory.outage(each.root), now) for each in self.entries]
