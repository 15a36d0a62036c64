"""Agents as the API shows them: what the stream tells of each, kept and asked."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from discovery.remote.frames import Hello
from mesh.control.api.shapes import Json
from mesh.control.seen import Agent, Seen


@dataclass(frozen=True, slots=True)
class Reporting:
    """Implements `stream.Reports` and `agents.Reports`. `replica`: this process, as people call it. `process`: by which
    it knows itself when it is asked by itself."""

    seen: Seen
    replica: str
    process: str = field(default_factory=lambda: secrets.token_hex(8))
    _addresses: dict[str, str] = field(default_factory=dict)

    def joined(self, agent: str, hello: Hello, address: str) -> None:
        self.seen.joined(agent, hello.namespace, hello.version)
        self._addresses[agent] = address

    def reported(self, agent: str, report: Mapping[str, object]) -> None:
        self.seen.reported(agent, report)

    def left(self, agent: str) -> None:
        self.seen.left(agent)
        self._addresses.pop(agent, None)

    def agents(self) -> list[Json]:
        return [self._row(each) for each in sorted(self.seen.agents(), key=lambda each: each.name)]

    def agent(self, name: str) -> Json | None:
        found = self.seen.agent(name)
        return None if found is None else self._row(found)

    def names(self, namespace: str, only: Collection[str] | None = None) -> list[Json]:
        return self.seen.names(namespace, only)

    def uses(self, namespace: str) -> Json:
        return {"namespace": namespace, "process": self.process, **self.seen.in_use(namespace).json()}

    def _row(self, agent: Agent) -> Json:
        return {**agent.json(), "replica": self.replica, "address": self._addresses.get(agent.name)}
