"""How this replica is, what was changed through it, its metrics, and the document of all routes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web
from prometheus_client.core import Metric

from mesh.admin.metrics import exposition
from mesh.control.api.route import Answer, AnyRoute, Asked, NoBody, NoQuery, Plain, Reply, Route, read
from mesh.control.api.shapes import Audited, Health, Json, LimitQuery
from mesh.control.audit import Audit
from mesh.control.grants import Role

_TEXT = ("text/plain",)
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Vitals(Protocol):
    """`ready`: the store has answered once."""

    def ready(self) -> bool: ...
    def health(self) -> Health: ...
    def metrics(self) -> Iterable[Metric]: ...


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    vitals: Vitals
    audit: Audit

    def routes(self) -> list[AnyRoute]:
        alive: Mapping[int, Any] = {200: Plain(_TEXT, "It runs.")}
        ready: Mapping[int, Any] = {200: Plain(_TEXT, "It serves."), 503: Plain(_TEXT, "It knows no tables yet.")}
        metrics: Mapping[int, Any] = {200: Plain(_TEXT, "Prometheus' text.")}
        return [
            Route("GET", "/healthz", None, "Whether the process runs.", self._alive, NoQuery, NoBody, alive),
            Route("GET", "/readyz", None, "Whether it serves.", self._ready, NoQuery, NoBody, ready),
            Route("GET", "/metrics", Role.READ, "What is counted.", self._metrics, NoQuery, NoBody, metrics),
            read("/v1/health", "How this replica is.", self._health, Health, NoQuery),
            read("/v1/audit", "Who changed what through this replica.", self._audit, Audited, LimitQuery),
        ]

    async def _alive(self, _asked: Asked[NoQuery, NoBody]) -> Reply:
        return web.Response(text="ok\n")

    async def _ready(self, _asked: Asked[NoQuery, NoBody]) -> Reply:
        ready = self.vitals.ready()
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)

    async def _metrics(self, _asked: Asked[NoQuery, NoBody]) -> Reply:
        return web.Response(text=exposition(self.vitals.metrics()), headers={"Content-Type": _METRICS})

    async def _health(self, _asked: Asked[NoQuery, NoBody]) -> Answer:
        return Answer(self.vitals.health())

    async def _audit(self, asked: Asked[LimitQuery, NoBody]) -> Answer:
        return Answer(Audited(await self.audit.latest(asked.query.limit)))


@dataclass(frozen=True, slots=True)
class DocumentRoutes:
    """`document`: of all routes, this one too."""

    document: Callable[[], Json]

    def routes(self) -> list[AnyRoute]:
        return [read("/v1/openapi.json", "This document.", self._document, Json, NoQuery)]

    async def _document(self, _asked: Asked[NoQuery, NoBody]) -> Reply:
        return web.Response(body=json.dumps(self.document()).encode(), content_type="application/json")
