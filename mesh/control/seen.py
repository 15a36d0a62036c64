"""What agents report: who they are and how they stand, which names they use, what only they can observe.

A name counts as in use for an hour after the last agent has had it, also when that agent has left. Everything here is
bounded, the oldest goes first and is counted; nothing is done but when a report comes or somebody asks.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from discovery.path import Path
from mesh.control.effect import View
from mesh.control.in_use import EVERYBODY, InUse, Used, User
from mesh.control.status import Counters, Key, Status, Unreadable, read

logger = logging.getLogger("tieline.control")

REMEMBERED_SECONDS = 3600.0
RECALLED_TO = 600.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    names: int = 50_000
    """Per namespace."""
    agents: int = 10_000


@dataclass(slots=True, eq=False)
class Agent:
    """`left_at` None: it is connected. `status` None: it has not reported yet. All times in seconds since the epoch."""

    name: str
    namespace: str
    version: str
    since: float
    left_at: float | None = None
    status: Status | None = None
    reported_at: float | None = None
    unreadable: str | None = None
    """Why its last report could not be read; what it reported before is kept."""
    keys: set[Key] = field(default_factory=set)
    """Every name it was heard of with, whether it still has it or not."""
    view: View | None = None
    """None: it has no source and no table of its own."""

    def json(self) -> dict[str, object]:
        said = self.status.told if self.status else {}
        return {
            **said,
            "agent": self.name,
            "namespace": self.namespace,
            "version": self.version,
            "connected": self.left_at is None,
            "since": self.since if self.left_at is None else self.left_at,
            "reported_at": self.reported_at,
            "unreadable": self.unreadable,
        }

    def user(self) -> User:
        left_at = self.left_at
        since = self.since if left_at is None else left_at
        return User(self.name, left_at is None, since, self.status, self.view)


@dataclass(slots=True, eq=False)
class _Row:
    """A name in use: what each agent counted last, and the sums of what was added."""

    path: Path
    seen_at: float
    by_agent: dict[str, Counters] = field(default_factory=dict)
    requests: int = 0
    failures: int = 0

    def count(self, agent: str, counted: Counters) -> None:
        """The first time is where counting begins: what was before is not known to be new."""
        before = self.by_agent.get(agent)
        if before is counted:
            return
        if counted.total is None and before is not None:
            counted = counted._replace(total=before.total)
        self.by_agent[agent] = counted
        if before is not None and before.total is not None and counted.total is not None:
            added = counted.total.since(before.total)
            # A proxy that started anew counts from 0.
            added = counted.total if min(added.requests, added.failures) < 0 else added
            self.requests += added.requests
            self.failures += added.failures

    def used(self, own: Collection[str]) -> Used:
        """`own`: the agents that have something of their own."""
        rates: dict[str, float] = {}
        for agent, counted in self.by_agent.items():
            key = agent if agent in own else EVERYBODY
            rates[key] = rates.get(key, 0.0) + counted.rate
        return Used(self.path, rates)

    def is_gone(self, agent: str) -> None:
        self.by_agent[agent] = self.by_agent[agent].idle()


class Recalled(NamedTuple):
    """A name that was in use, in seconds since the epoch until when: within RECALLED_TO."""

    router: str
    path: Path
    at: float


class Seen:
    def __init__(self, clock: Callable[[], float], limits: Limits = Limits()) -> None:
        self._clock, self._limits = clock, limits
        self._agents: OrderedDict[str, Agent] = OrderedDict()
        self._left: dict[str, float] = {}
        """When those left that are gone, the first to leave first: in seconds since the epoch."""
        self._rows: dict[str, OrderedDict[Key, _Row]] = {}
        self.dropped_names = 0
        self.dropped_agents = 0

    # What the stream tells

    def joined(self, agent: str, namespace: str, version: str) -> None:
        known = self._agents.get(agent)
        if known is None or known.namespace != namespace:
            if known is not None:
                self._forget(known)
            known = self._agents[agent] = Agent(agent, namespace, version, self._clock())
        elif known.left_at is not None:
            known.since = self._clock()
        known.version, known.left_at = version, None
        self._left.pop(agent, None)
        self._agents.move_to_end(agent)
        self._drop_agents()

    def reported(self, agent: str, frame: Mapping[str, object]) -> None:
        """Never raises: a report that can't be read is told with the agent, and what it said before is kept."""
        known = self._agents.get(agent)
        if known is None or known.left_at is not None:
            return
        try:
            status = read(frame, known.status)
        except Unreadable as error:
            if known.unreadable is None:
                fields = {"agent": agent, "error": error}
                logger.warning("an agent's report can't be read, its last one is kept", extra={"fields": fields})
            known.unreadable = str(error)
            return
        known.unreadable, known.reported_at = None, self._clock()
        self._take(known, status, names_too="names" in frame)

    def left(self, agent: str) -> None:
        known = self._agents.get(agent)
        if known is not None and known.left_at is None:
            known.left_at = self._left[agent] = self._clock()
            rows = self._of(known.namespace)
            for key in known.keys:
                rows[key].is_gone(agent)

    def _take(self, agent: Agent, status: Status, *, names_too: bool) -> None:
        before, agent.status = agent.status, status
        if before is None or (before.own, before.sources, before.dtab) != (status.own, status.sources, status.dtab):
            agent.view = status.view(agent.name)
        if not names_too:
            return
        rows: OrderedDict[Key, _Row] = self._rows.setdefault(agent.namespace, OrderedDict())
        now = self._clock()
        for key, counted in status.names.items():
            row = rows.get(key)
            if row is None:
                row = rows[key] = _Row(Path.parse(key[1]), now)
            row.seen_at = now
            row.count(agent.name, counted)
            rows.move_to_end(key)
        for key in agent.keys - status.names.keys():
            rows[key].is_gone(agent.name)
        agent.keys |= status.names.keys()
        self._drop_names(agent.namespace, rows)

    # What outlives this process

    def recollection(self) -> dict[str, list[Recalled]]:
        """By namespace. Alike for as long as the same names are in use, but for each RECALLED_TO."""
        return {
            namespace: [
                Recalled(router, row.path, math.ceil(row.seen_at / RECALLED_TO) * RECALLED_TO)
                for (router, _), row in rows.items()
            ]
            for namespace, rows in self._rows.items()
        }

    def recall(self, known: Mapping[str, Sequence[Recalled]]) -> None:
        """What agents have reported meanwhile is newer."""
        now = self._clock()
        for namespace, recalled in known.items():
            old = {(each.router, each.path.show()): _Row(each.path, min(each.at, now)) for each in recalled}
            new = self._rows.get(namespace, OrderedDict())
            past = sorted((item for item in old.items() if item[0] not in new), key=lambda item: item[1].seen_at)
            rows = self._rows[namespace] = OrderedDict((*past, *new.items()))
            self._drop_names(namespace, rows)

    # What is asked

    def agents(self) -> Iterator[Agent]:
        self._drop_agents()
        return iter(self._agents.values())

    def agent(self, name: str) -> Agent | None:
        return self._agents.get(name)

    def in_use(self, namespace: str) -> InUse:
        agents = {each.name: each.user() for each in self._agents.values() if each.namespace == namespace}
        own = {name for name, each in agents.items() if each.view is not None}
        return InUse({key: row.used(own) for key, row in self._fresh(namespace).items()}, agents)

    def names(self, namespace: str, only: Collection[str] | None = None) -> list[dict[str, object]]:
        """For GET /v1/namespaces/{ns}/names. `only`: these alone."""
        return [
            {
                "router": router,
                "name": name,
                "rate": round(sum(each.rate for each in row.by_agent.values()), 3),
                "requests": row.requests,
                "failures": row.failures,
                "agents": sorted(agent for agent, each in row.by_agent.items() if each.in_use),
                "bound": sorted({each.bound for each in row.by_agent.values() if each.bound}),
                "seen_at": row.seen_at,
            }
            for (router, name), row in self._fresh(namespace).items()
            if only is None or name in only
        ]

    # Bounds

    def _of(self, namespace: str) -> OrderedDict[Key, _Row]:
        return self._rows.get(namespace) or OrderedDict()

    def _fresh(self, namespace: str) -> OrderedDict[Key, _Row]:
        rows = self._of(namespace)
        self._drop_names(namespace, rows)
        return rows

    def _drop_names(self, namespace: str, rows: OrderedDict[Key, _Row]) -> None:
        oldest = self._clock() - REMEMBERED_SECONDS
        while rows:
            key, row = next(iter(rows.items()))
            if len(rows) <= self._limits.names and row.seen_at >= oldest:
                return
            self.dropped_names += len(rows) > self._limits.names
            del rows[key]
            for agent in row.by_agent:
                self._agents[agent].keys.discard(key)
        self._rows.pop(namespace, None)

    def _drop_agents(self) -> None:
        oldest = self._clock() - REMEMBERED_SECONDS
        while self._left and (first := next(iter(self._left.items())))[1] < oldest:
            self._forget(self._agents[first[0]])
        while len(self._agents) > self._limits.agents:
            self.dropped_agents += 1
            self._forget(self._agents[next(iter(self._left or self._agents))])

    def _forget(self, agent: Agent) -> None:
        """Its names stay, for as long as names do."""
        del self._agents[agent.name]
        self._left.pop(agent.name, None)
        rows = self._of(agent.namespace)
        for key in agent.keys:
            del rows[key].by_agent[agent.name]
