"""A binding as `explain` answers it: the way it took, what is known of each end, and what holds for the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from discovery.address import Bound, Endpoint, Failed, Known, Pending, State
from discovery.observatory import Observatory
from discovery.path import Path
from mesh.agent.overlap import endpoints_of, every_leaf, leaves, owners
from mesh.agent.sources import head
from mesh.naming.bind import AskState, Binding
from mesh.naming.explain import OUTCOMES, Asked, AskSource, explain, trail
from mesh.policy import shown
from mesh.policy.effective import Policies
from mesh.policy.subset import in_subset


@dataclass(frozen=True, slots=True)
class Sight:
    """What the answer draws on. `source`: of whom a name is asked."""

    state: AskState
    source: AskSource
    policies: Policies

    def endpoints(self, id: Path) -> tuple[Endpoint, ...]:
        return endpoints_of(self.state(id))


def asked(observatory: Observatory, name: Path) -> Asked | None:
    entry = observatory.entry(name)
    return Asked(head(entry), observatory.held_since(name)) if entry else None


def unanswered(binding: Binding, state: AskState) -> bool:
    """Whether it rests on a source that has not answered: then we can't say what does not exist."""
    return any(isinstance(state(path), Failed | Pending) for path in binding.wanted)


def explained(sight: Sight, binding: Binding) -> dict[str, object]:
    ids = list(dict.fromkeys(every_leaf(binding.tree)))
    owner = owners(ids, sight.endpoints)
    return {
        "path": binding.path.show(),
        "outcome": OUTCOMES[binding.grade],
        "unanswered": unanswered(binding, sight.state),
        "tree": explain(binding, sight.state, sight.source),
        "trail": trail(binding),
        "endpoints": {id.show(): _described(sight, binding.path, id, owner) for id in ids},
        "policy": shown.of_name(sight.policies, binding.path),
    }


def mirrored(sight: Sight, percent: float, binding: Binding) -> dict[str, object]:
    ids = dict.fromkeys(leaves(binding.tree))
    return {
        "to": binding.path.show(),
        "percent": percent,
        "outcome": OUTCOMES[binding.grade],
        "tree": explain(binding, sight.state, sight.source),
        "endpoints": {id.show(): [_endpoint(each) for each in sight.endpoints(id)] for id in ids},
    }


def _described(sight: Sight, path: Path, id: Path, owner: Mapping[tuple[str, int], Path]) -> dict[str, object]:
    source, endpoints = sight.source(id), sight.endpoints(id)
    used = set(in_subset(endpoints, sight.policies.of_bound(path, id).balancing.subset))
    rows = [
        {
            **_endpoint(each),
            "counted_in": None if owner[each.key] == id else owner[each.key].show(),
            "in_subset": each in used,
        }
        for each in endpoints
    ]
    known = described(sight.state(id), source.held_since if source else None)
    policy = shown.of_bound(sight.policies, path, id)
    return {"source": source.source if source else None, **known, "endpoints": rows, "policy": policy}


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
