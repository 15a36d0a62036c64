"""Explains a name at the control plane: for all agents, for one of them, or at a moment of the past.

The walk and the answer are those of an agent's `/explain`. Added to its keys: `namespace`, `table` (the version that is
explained), `at`, and `agent`: what is known of how it stands. For an agent it is the version that the agent has, and
what only it observes is as it reported, and dentries of its own configuration are behind the namespace's.

What can't be known of the past is an answer, too: `outcome` "unknown", with the `reason`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

from discovery.address import State
from discovery.path import Path
from mesh.agent.asking import Asking, Question
from mesh.agent.explained import Sight, asked, explained, mirrored
from mesh.control.effect import Rules, View
from mesh.control.journal import Journal
from mesh.control.lint import read
from mesh.control.past import NotKnown, Past, shown
from mesh.control.seen import Agent, Seen
from mesh.control.store.protocol import StoreError
from mesh.control.version import Content, Version
from mesh.naming import identify
from mesh.naming.bind import AskState, Binding, Namer, Options, bind
from mesh.naming.dtab import Dtab
from mesh.naming.explain import Asked
from mesh.policy.effective import Policies

PREFIX = Path(("svc",))
"""What a name that is no path is looked up under, as a router does it unless its `dst_prefix` says otherwise."""
NOTHING = Content("")


class UnknownAgent(Exception):
    """The text says so, and of which namespace the agent is if it is of another."""


class Versions(Protocol):
    def get(self, namespace: str) -> Version | None:
        """The one in force."""
        ...


class Kept(Protocol):
    async def version(self, namespace: str, number: int) -> Version | None:
        """Any that there was. Raises StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    namespace: str
    name: str
    path: Path
    router: str | None
    agent: str | None
    at: float | None
    local: Dtab | None


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is explained, and by what."""

    query: Query
    version: Version | None
    rules: Rules
    agent: Agent | None
    view: View

    def paths(self) -> Iterator[Path]:
        """The name's, and where its copies go."""
        path = self.query.path
        yield path
        yield from (each.path for each in self.rules.policies.of_name(path).mirror if each.path is not None)


@dataclass(frozen=True, slots=True)
class Explaining:
    asking: Asking
    versions: Versions
    kept: Kept
    seen: Seen
    journal: Journal | None
    namers: Sequence[Namer]
    options: Options

    async def explain(
        self, namespace: str, name: str, *, router: str | None, agent: str | None, at: float | None, local: Dtab | None
    ) -> dict[str, object]:
        """`at`: seconds since the epoch. `local`: dentries on top of the table, as `l5d-dtab` adds them.

        Raises ValueError (a name that is no name), UnknownAgent."""
        query = Query(namespace, name, _path(name), router, agent, at, local)
        if at is not None:
            return await self._at(query, at)
        version = await self._version(query)
        if isinstance(version, NotKnown):
            return self._unknown(query, version)
        scene = self._scene(query, version)
        state = self._seen_by(scene.view, self.asking.observatory.state)
        with self.asking.question() as question:
            bindings = [await self._settled(scene, path, state, question) for path in scene.paths()]
            return self._answer(scene, bindings, state, partial(asked, self.asking.observatory))

    async def _version(self, query: Query) -> Version | NotKnown | None:
        """The one that is in force where the question is about."""
        current, agent = self.versions.get(query.namespace), self._agent(query)
        has = agent.status.told.get("table") if agent and agent.status else None
        if not isinstance(has, int) or (current is not None and current.number == has):
            return current
        try:
            return await self.kept.version(query.namespace, has)
        except StoreError as error:
            return NotKnown(f"not known: {query.agent} has version {has} of the table, and that can't be read: {error}")

    async def _at(self, query: Query, moment: float) -> dict[str, object]:
        if self.journal is None:
            return self._unknown(query, NotKnown("not known: there is no journal"))

        def work(past: Past) -> dict[str, object]:
            version = past.version(query.namespace)
            if version is None:
                why = f"not known: no table of {query.namespace} was known here at {shown(moment)}"
                return self._unknown(query, NotKnown(why))
            scene = self._scene(query, version)
            state = self._seen_by(scene.view, past.state)
            bindings = [self._bind(scene, path, state) for path in scene.paths()]
            answer = self._answer(scene, bindings, state, lambda name: _source(self.asking, name))
            return {**answer, "at": shown(moment)}

        found = await self.journal.look(moment, work)
        return self._unknown(query, found) if isinstance(found, NotKnown) else found

    def _scene(self, query: Query, version: Version | None) -> _Scene:
        everybody = View(tuple(self.namers))
        found = rules((version.content if version else None) or NOTHING)
        agent = self._agent(query)
        # What it observed itself is known of now, not of the past.
        own = agent and (agent.view if query.at is None else agent.view and agent.view.forgotten())
        if beyond := (own.dtab if own else Dtab()) + (query.local or Dtab()):
            found = Rules(found.dtab + beyond, found.policies)
        return _Scene(query, version, found, agent, own.over(self.namers) if own else everybody)

    def _agent(self, query: Query) -> Agent | None:
        """Raises UnknownAgent."""
        if query.agent is None:
            return None
        agent = self.seen.agent(query.agent)
        if agent is None or agent.namespace != query.namespace:
            where = f"; it is of the namespace {agent.namespace}" if agent else ""
            raise UnknownAgent(f"no agent {query.agent!r} has been seen in {query.namespace} within an hour{where}")
        return agent

    def _seen_by(self, view: View, shared: AskState) -> AskState:
        def state(path: Path) -> State:
            own = view.state(path)
            return shared(path) if own is None else own

        return state if view.roots else shared

    def _bind(self, scene: _Scene, path: Path, state: AskState) -> Binding:
        dtab, namers = scene.rules.dtab, scene.view.namers
        failover = scene.rules.policies.of_name(path).failover
        return bind(dtab, path, namers, state, self.options, exhaustive=True, failover=failover)

    async def _settled(self, scene: _Scene, path: Path, state: AskState, question: Question) -> Binding:
        return await question.settled(lambda: self._bind(scene, path, state), self.asking.until())

    def _answer(
        self, scene: _Scene, bindings: Sequence[Binding], state: AskState, source: Callable[[Path], Asked | None]
    ) -> dict[str, object]:
        policies = scene.rules.policies
        sight = Sight(state, source, policies)
        binding, *copies = bindings
        percents = [each.percent for each in policies.of_name(scene.query.path).mirror if each.path is not None]
        return {
            **_head(scene.query),
            "table": scene.version.number if scene.version else None,
            "agent": _standing(scene.agent),
            **explained(sight, binding),
            "mirrors": [mirrored(sight, percent, each) for percent, each in zip(percents, copies, strict=True)],
        }

    @staticmethod
    def _unknown(query: Query, why: NotKnown) -> dict[str, object]:
        at = None if query.at is None else shown(query.at)
        return {**_head(query), "outcome": "unknown", "reason": why.reason, "at": at}


def _head(query: Query) -> dict[str, object]:
    return {
        "name": query.name,
        "namespace": query.namespace,
        "router": query.router,
        "protocol": "http",
        "local_dtab": query.local.show() if query.local else None,
        "at": None,
    }


def _path(name: str) -> Path:
    """Raises ValueError."""
    if name.startswith("/"):
        return Path.parse(name)
    identified = identify.host(name, PREFIX)
    if isinstance(identified, identify.Unidentified):
        raise ValueError(f"{name!r} names no service: {identified.reason}")  # noqa: TRY004 - a value, not a type
    return identified


def _standing(agent: Agent | None) -> Mapping[str, object] | None:
    """Whether the agent has the table that is explained: its version, and what it has refused."""
    if agent is None:
        return None
    told = agent.json()
    keys = ("agent", "connected", "since", "reported_at", "table", "table_since", "table_refused")
    return {key: told.get(key) for key in keys}


def _source(asking: Asking, name: Path) -> Asked | None:
    """Of whom a name is asked; since when it was held is not in the journal."""
    found = asked(asking.observatory, name)
    return Asked(found.source, None) if found else None


@lru_cache(maxsize=64)
def rules(content: Content) -> Rules:
    """Of a content that was stored, which reads; of one that does not, as much as does."""
    found = read(content)
    entries = [each.entry for each in found.policies or ()]
    return Rules(found.dtab or Dtab(), Policies(entries))
