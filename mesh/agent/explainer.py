"""Explains a name: the walk that routing takes, over every alternate, with what is known of each.

What the walk wants is observed for as long as the question lasts, so that a name nobody calls can be explained too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from discovery.address import Bound, Endpoint, Known, Pending, State
from discovery.observatory import Observatory
from discovery.path import Path
from mesh.agent.binder import Binder
from mesh.agent.overlap import endpoints_of, every_leaf, leaves, owners
from mesh.agent.routers import Router
from mesh.agent.sources import head
from mesh.agent.stream_routers import StreamRouter
from mesh.naming.bind import Binding, bind
from mesh.naming.dtab import Dtab
from mesh.naming.explain import Asked, explain, trail
from mesh.naming.identify import Unidentified
from mesh.naming.trace import Grade
from mesh.policy import shown
from mesh.policy.effective import Policies
from mesh.policy.subset import in_subset

OUTCOMES = {
    Grade.LIVE: "bound",
    Grade.LOST: "bound",
    Grade.DEAD: "empty",
    Grade.EMPTY: "empty",
    Grade.NEG: "neg",
    Grade.FAIL: "fail",
    Grade.WAITING: "pending",
    Grade.BROKEN: "broken",
}


class UnknownRouter(Exception):
    """There is no router of this name; the text lists those there are."""


@dataclass(slots=True)
class Explainer:
    binder: Binder
    observatory: Observatory
    routers: Mapping[str, Router | StreamRouter]
    policies: Policies
    patience_seconds: float
    _changes: set[asyncio.Event] = field(default_factory=set)

    def on_state(self) -> None:
        for change in self._changes:
            change.set()

    async def explain(self, name: str, router: str | None, local: Dtab | None) -> dict[str, object]:
        """Raises PathSyntaxError, UnknownRouter, ValueError (a name that is no name)."""
        chosen = self._router(router)
        path = _path(name, chosen)
        wanted: set[Path] = set()
        try:
            binding = await self._bind(path, local, wanted)
            answer = self._answer(name, chosen, binding, local)
            answer["mirrors"] = [
                self._mirror(mirror.percent, await self._bind(to, local, wanted))
                for mirror in self.policies.of_name(path).mirror
                if (to := mirror.path) is not None
            ]
            return answer
        finally:
            for want in wanted:
                self.observatory.release(want)

    def _router(self, name: str | None) -> Router | StreamRouter:
        if name is None:
            return next(iter(self.routers.values()))
        if name not in self.routers:
            raise UnknownRouter(f"no router {name!r}; there are: {', '.join(self.routers)}")
        return self.routers[name]

    async def _bind(self, path: Path, local: Dtab | None, wanted: set[Path]) -> Binding:
        dtab = self.binder.dtab + local if local else self.binder.dtab
        change = asyncio.Event()
        self._changes.add(change)
        try:
            async with asyncio.timeout(self.patience_seconds):
                while True:
                    change.clear()
                    binding = bind(
                        dtab,
                        path,
                        self.binder.namers,
                        self.observatory.state,
                        self.binder.options,
                        exhaustive=True,
                        failover=self.policies.of_name(path).failover,
                    )
                    for want in binding.wanted - wanted:
                        self.observatory.want(want)
                        wanted.add(want)
                        change.set()
                    pending = any(isinstance(self.observatory.state(want), Pending) for want in binding.wanted)
                    if not pending and not change.is_set():
                        return binding
                    await change.wait()
        except TimeoutError:
            return binding
        finally:
            self._changes.discard(change)

    def _answer(
        self, name: str, router: Router | StreamRouter, binding: Binding, local: Dtab | None
    ) -> dict[str, object]:
        ids = list(dict.fromkeys(every_leaf(binding.tree)))
        owner = owners(ids, self._endpoints)
        in_use = [used for used in self.binder.names.aliases(binding.path) if used.router == router.name]
        return {
            "name": name,
            "path": binding.path.show(),
            "router": router.name,
            "protocol": router.protocol,
            "outcome": OUTCOMES[binding.grade],
            "unanswered": self.binder.unanswered(binding),
            "local_dtab": local.show() if local else None,
            "tree": explain(binding, self.observatory.state, self._asked),
            "trail": trail(binding),
            "endpoints": {id.show(): self._described(binding.path, id, owner) for id in ids},
            "policy": shown.of_name(self.policies, binding.path),
            "in_use": [used.key for used in in_use],
        }

    def _mirror(self, percent: float, binding: Binding) -> dict[str, object]:
        ids = dict.fromkeys(leaves(binding.tree))
        return {
            "to": binding.path.show(),
            "percent": percent,
            "outcome": OUTCOMES[binding.grade],
            "tree": explain(binding, self.observatory.state, self._asked),
            "endpoints": {id.show(): [_endpoint(each) for each in self._endpoints(id)] for id in ids},
        }

    def _asked(self, name: Path) -> Asked | None:
        entry = self.observatory.entry(name)
        return Asked(head(entry), self.observatory.held_since(name)) if entry else None

    def _endpoints(self, id: Path) -> tuple[Endpoint, ...]:
        return endpoints_of(self.observatory.state(id))

    def _described(self, path: Path, id: Path, owner: Mapping[tuple[str, int], Path]) -> dict[str, object]:
        entry = self.observatory.entry(id)
        known = described(self.observatory.state(id), self.observatory.held_since(id))
        used = set(in_subset(self._endpoints(id), self.policies.of_bound(path, id).balancing.subset))
        endpoints = [
            {
                **_endpoint(each),
                "counted_in": None if owner[each.key] == id else owner[each.key].show(),
                "in_subset": each in used,
            }
            for each in self._endpoints(id)
        ]
        policy = shown.of_bound(self.policies, path, id)
        return {"source": head(entry) if entry else None, **known, "endpoints": endpoints, "policy": policy}


def _path(name: str, router: Router | StreamRouter) -> Path:
    if name.startswith("/"):
        return Path.parse(name)
    identified = router.named(name)
    if isinstance(identified, Unidentified):
        raise ValueError(f"{name!r} names no service: {identified.reason}")  # noqa: TRY004 - a value, not a type
    return identified


def described(state: State, held_since: float | None) -> dict[str, object]:
    """A state as JSON: what is known, since when, how fresh, and why and since when it is held."""
    if not isinstance(state, Known):
        kind = "pending" if isinstance(state, Pending) else "failed"
        return {"state": kind, "reason": state.reason}
    return {
        "state": "known",
        "exists": isinstance(state.addr, Bound),
        "since": state.since,
        "confirmed_at": state.confirmed_at,
        "held": state.held,
        "held_since": held_since,
    }


def _endpoint(endpoint: Endpoint) -> dict[str, object]:
    return {
        "address": endpoint.address,
        "port": endpoint.port,
        "weight": endpoint.weight,
        "health": endpoint.health.value,
        "zone": endpoint.zone,
        "host": endpoint.host,
        "origin": endpoint.origin,
        "protocol": endpoint.protocol.value if endpoint.protocol else None,
    }
