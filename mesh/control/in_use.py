"""The names in use of a namespace, and who uses them: what a replica has heard, as a value, and as JSON for the others.

    {"names": [{"router": "http", "name": "/svc/users", "rates": {"": 34.5, "host7": 2.0}}],
     "agents": [{"agent": "host7", "connected": true, "since": 1764000000.0, "dtab": "...", "sources": [...],
       "local": {...}}]}

`rates`: requests per second by agent; under "" those of all agents that see what everybody sees. What an agent has of
its own (`dtab`, `sources`, `local`) is as in its report, and absent where it has nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from discovery.path import Path, PathSyntaxError
from mesh.control import status
from mesh.control.effect import Use, View
from mesh.control.status import Key, Status, Unreadable
from mesh.naming.bind import Namer

EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class User:
    """An agent. `view` None: it has no source and no table of its own. `since`: in seconds since the epoch."""

    agent: str
    connected: bool
    since: float
    status: Status | None = None
    view: View | None = None

    def json(self) -> dict[str, object]:
        who = {"agent": self.agent, "connected": self.connected, "since": self.since}
        return who if self.status is None or self.view is None else {**who, **status.own(self.status)}


@dataclass(frozen=True, slots=True)
class Used:
    """`rates`: requests per second by agent, under EVERYBODY those of all that have nothing of their own."""

    path: Path
    rates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class InUse:
    names: Mapping[Key, Used] = field(default_factory=dict)
    agents: Mapping[str, User] = field(default_factory=dict)

    def paths(self) -> list[Path]:
        return [each.path for each in self.names.values()]

    def roots(self) -> set[Path]:
        """The prefixes of sources that agents have of their own."""
        return {root for each in self.agents.values() if each.view for root in each.view.roots}

    def uses(self, namers: Sequence[Namer]) -> list[Use]:
        """`namers`: those of the control plane's sources."""
        namers = tuple(namers)
        views = {each.agent: each.view.over(namers) for each in self.agents.values() if each.view is not None}
        everybody = View(namers, tuple(each.agent for each in self.agents.values() if each.view is None))
        uses = []
        for (router, _), used in self.names.items():
            rates: dict[View, float] = {}
            for agent, rate in used.rates.items():
                view = views.get(agent, everybody)
                rates[view] = rates.get(view, 0.0) + rate
            uses.append(Use(router, used.path, rates or {everybody: 0.0}))
        return uses

    def json(self) -> dict[str, object]:
        return {
            "names": [
                {"router": router, "name": name, "rates": used.rates} for (router, name), used in self.names.items()
            ],
            "agents": [each.json() for each in self.agents.values()],
        }


def read(told: Mapping[str, object]) -> InUse:
    """Unknown keys are ignored. Raises Unreadable."""
    rows = enumerate(status.objects(told.get("names"), "names"))
    agents = (_user(row, f"agents[{at}]") for at, row in enumerate(status.objects(told.get("agents"), "agents")))
    return InUse(dict(_used(row, f"names[{at}]") for at, row in rows), {each.agent: each for each in agents})


def _used(row: Mapping[str, object], key: str) -> tuple[Key, Used]:
    name, router = status.text(row.get("name"), f"{key}.name"), status.text(row.get("router"), f"{key}.router")
    rates = status.section(row.get("rates"), f"{key}.rates")
    try:
        path = Path.parse(name)
    except PathSyntaxError as error:
        raise Unreadable(f"{key}.name: {error}") from error
    numbers = {agent: status.number(rate, f"{key}.rates.{agent}") for agent, rate in rates.items()}
    return (router, name), Used(path, numbers)


def _user(row: Mapping[str, object], key: str) -> User:
    agent, since = status.text(row.get("agent"), f"{key}.agent"), status.number(row.get("since"), f"{key}.since")
    has = {each: row[each] for each in status.OWN if each in row}
    try:
        of = status.read(has, None)
    except Unreadable as error:
        raise Unreadable(f"{key}.{error}") from error
    return User(agent, bool(row.get("connected")), since, of, of.view(agent))


def merged(several: Sequence[InUse]) -> InUse:
    """What they know together. An agent is as that replica tells it which it is connected to, else as the last one."""
    if len(several) == 1:
        return several[0]
    agents: dict[str, User] = {}
    for user in (each for one in several for each in one.agents.values()):
        known = agents.get(user.agent)
        if known is None or (known.connected, known.since) < (user.connected, user.since):
            agents[user.agent] = user
    names: dict[Key, Used] = {}
    for key, used in (each for one in several for each in one.names.items()):
        known_as = names.get(key)
        names[key] = used if known_as is None else Used(used.path, _sum(known_as.rates, used.rates))
    return InUse(names, agents)


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {agent: one.get(agent, 0.0) + other.get(agent, 0.0) for agent in dict.fromkeys((*one, *other))}
