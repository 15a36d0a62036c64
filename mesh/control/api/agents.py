"""`/v1/agents` and the names in use: what agents report. `/v1/agent` is the stream they report on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from mesh.control.api.route import Answer, AnyRoute, Asked, Lenient, NoBody, NoQuery, Plain, Refusal, Reply, Route, read
from mesh.control.api.shapes import Json, NamesQuery
from mesh.control.grants import Role


class Reports(Protocol):
    """Rows of JSON; None: no such agent."""

    def agents(self) -> Sequence[Json]: ...
    def agent(self, name: str) -> Json | None: ...
    def names(self, namespace: str, only: Collection[str] | None = None) -> Sequence[Json]: ...
    def uses(self, namespace: str) -> Json: ...


@dataclass(frozen=True, slots=True)
class AgentRoutes:
    reports: Reports
    stream: Callable[[web.Request], Awaitable[web.StreamResponse]]

    def routes(self) -> list[AnyRoute]:
        upgraded = {101: Plain((), "The stream."), 426: None}
        uses = "/v1/namespaces/{namespace}/uses"
        names, stream = "/v1/namespaces/{namespace}/names", "The stream of an agent, a WebSocket."
        return [
            read("/v1/agents", "Every agent, and its last report.", self._all, Json, NoQuery),
            read("/v1/agents/{agent}", "One agent.", self._one, Json, NoQuery, 404),
            read(names, "The names in use, as agents report them.", self._names, Json, NamesQuery),
            read(uses, "What this replica tells the others for a preview.", self._uses, Json, NoQuery),
            Route("GET", "/v1/agent", Role.AGENT, stream, self._stream, Lenient, NoBody, upgraded),
        ]

    async def _all(self, _asked: Asked[NoQuery, NoBody]) -> Answer:
        return Answer({"agents": list(self.reports.agents())})

    async def _one(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        name = asked.request.match_info["agent"]
        found = self.reports.agent(name)
        if found is None:
            raise Refusal(404, f"no agent {name[:200]!r} has connected here. /v1/agents lists those that have")
        return Answer(found)

    async def _names(self, asked: Asked[NamesQuery, NoBody]) -> Answer:
        only = None if asked.query.only is None else frozenset(asked.query.only.split(","))
        return Answer({"namespace": asked.namespace, "names": list(self.reports.names(asked.namespace, only))})

    async def _uses(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        return Answer(self.reports.uses(asked.namespace))

    async def _stream(self, asked: Asked[Lenient, NoBody]) -> Reply:
        return await self.stream(asked.request)
