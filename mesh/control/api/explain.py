"""`/v1/namespaces/{namespace}/explain`: why a name leads where it leads, at any agent, now or then."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mesh.control.api.route import Answer, AnyRoute, Asked, NoBody, Refusal, read
from mesh.control.api.shapes import ExplainQuery, Json
from mesh.control.explaining import UnknownAgent
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab

_NUMBER = re.compile(r"\d{1,12}(\.\d{1,9})?")


class Explains(Protocol):
    async def explain(
        self, namespace: str, name: str, *, router: str | None, agent: str | None, at: float | None, local: Dtab | None
    ) -> Json:
        """`at`: seconds since the epoch. Raises ValueError (a name that is no name), UnknownAgent."""
        ...


@dataclass(frozen=True, slots=True)
class ExplainRoutes:
    explaining: Explains

    def routes(self) -> list[AnyRoute]:
        path, summary = "/v1/namespaces/{namespace}/explain", "Why a name leads where it leads."
        return [read(path, summary, self._explain, Json, ExplainQuery, 404)]

    async def _explain(self, asked: Asked[ExplainQuery, NoBody]) -> Answer:
        query = asked.query
        try:
            local = parse_dtab(query.dtab, "the request") if query.dtab else None
            at = None if query.at is None else _time(query.at)
            return Answer(
                await self.explaining.explain(
                    asked.namespace, query.name, router=query.router, agent=query.agent, at=at, local=local
                )
            )
        except (DtabSyntaxError, ValueError) as error:
            raise Refusal(400, str(error)) from error
        except UnknownAgent as error:
            raise Refusal(404, str(error)) from error


def _time(text: str) -> float:
    """Raises ValueError."""
    try:
        if _NUMBER.fullmatch(text):
            return float(text)
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"a time expected, seconds since the epoch or ISO 8601, not {text[:50]!r}") from None
