"""Lets go of names nobody calls any more. Envoy counts requests per cluster; it is asked only while names are bound."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as File

from mesh.agent import envoy_admin
from mesh.agent.binder import Binder
from mesh.agent.publishing import Publishing
from mesh.envoy import names as envoy_names
from mesh.xds.server import Ads

logger = logging.getLogger("tieline.idle")

USED = "/stats?usedonly&format=json&filter=^cluster\\..*\\.upstream_rq_(total|active)$"
SETTLE_SECONDS = 15.0
"""After this time an Envoy has connected again and told what it has; what no name needs is then withdrawn."""
LEAST_SECONDS, MOST_SECONDS = 0.25, 60.0


@dataclass(slots=True)
class Idle:
    binder: Binder
    publisher: Publishing
    ads: Ads
    admin: File
    clock: Callable[[], float]
    idle_seconds: float
    refused_seconds: float
    _totals: dict[str, int] = field(default_factory=dict)

    async def keep(self) -> None:
        asked = started = self.clock()
        every = min(max(self.idle_seconds / 4, LEAST_SECONDS), MOST_SECONDS)
        while True:
            await asyncio.sleep(min(every, max(self.refused_seconds / 2, LEAST_SECONDS)))
            self.drop_refused()
            self.publisher.sweep()
            if not self.ads.store.settled and self.clock() - started >= SETTLE_SECONDS:
                self.settle()
            if self.clock() - asked >= every and len(self.binder.names) > self.binder.names.refused_count:
                asked = self.clock()
                await self.drop_idle()

    def settle(self) -> None:
        """Once: from then on, what no name needs is withdrawn."""
        if not any(name.adopted for name in self.binder.names):
            self.ads.settle()

    def drop_refused(self) -> None:
        """Refused names are remembered for a bounded time after they were last asked for."""
        expired = self.clock() - self.refused_seconds
        for name in [name for name in self.binder.names.refused if name.asked <= expired and not name.waiters]:
            self.binder.drop(name)

    async def drop_idle(self) -> None:
        busy = await self._busy()
        if busy is None:
            return
        now = self.clock()
        for name in list(self.binder.names):
            if name.local is not None:
                # Each of its requests asks; its clusters are others', too.
                if now - name.asked >= self.idle_seconds and not name.waiters:
                    self.binder.drop(name)
                continue
            stats = {envoy_names.stat_name(cluster) for cluster in name.targets - name.mirrored}
            if stats & busy:
                name.used = now
            elif name.fixed:
                continue
            elif now - max(name.used, name.asked) >= self.idle_seconds and not name.waiters and name.published:
                self.binder.drop(name)

    async def _busy(self) -> set[str] | None:
        """The clusters with requests since the last look, or with one still running; None when Envoy can't say."""
        try:
            answer = json.loads(await envoy_admin.get(self.admin, USED))
        except (OSError, TimeoutError, ValueError, EOFError) as error:
            logger.debug("Envoy's counters could not be read", extra={"fields": {"error": error}})
            return None
        busy: set[str] = set()
        totals: dict[str, int] = {}
        for stat in answer["stats"]:
            cluster, _, kind = stat["name"].removeprefix("cluster.").rpartition(".")
            value = int(stat["value"])
            if kind == "upstream_rq_total":
                totals[cluster] = value
                if value != self._totals.get(cluster, 0):
                    busy.add(cluster)
            elif value > 0:
                busy.add(cluster)
        self._totals = totals
        return busy
