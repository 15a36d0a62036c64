"""A change, seen before it is made: every name in use that it touches, old and new destination, what share moves. Pure.

As JSON:

    {"names": 812, "moved_share": 0.12, "unknown_share": 0.0, "by": "requests", "limit": 0.1, "refused": true,
     "changed": [{"name": "/svc/users", "router": "http", "before": "/#/consul/dc1/users", "after": "/#/ecs/prod/users",
       "outcome_before": "bound", "outcome_after": "bound", "breaks": false,
       "before_endpoints": 3, "after_endpoints": 2,
       "gained": ["10.0.0.7:80"], "lost": ["10.0.0.1:80"], "share": 0.12, "moves": 1.0, "rate": 34.5,
       "settings": [], "copies": [], "agents": [], "note": null}],
     "silent": {"https://control-2:4180": "no answer within 2 s"},
     "unknown": [{"name": "/svc/cart", "router": "http", "rate": 2.0, "agents": [], "reason": "..."}]}

`share` is of all current requests, `moves` of the name's own. `by` is "names" while nobody calls: then each name counts
alike. `silent`: replicas that did not say what their agents use, and why. `gained` and `lost` are at most
MOST_ENDPOINTS each. `agents`: whom it holds for, if it does not hold for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from discovery.address import Endpoint
from mesh.control.effect import Destination, Effect, Rules, Unknown, Use
from mesh.control.foresight import Foresight
from mesh.naming.bind import AskState, Options

MOST_ENDPOINTS: Final = 10
MOST_AGENTS: Final = 20
COUNTED_ONLY: Final = "/"
"""How the address of an endpoint begins of which only the existence is known: an agent tells how many it sees."""


@dataclass(frozen=True, slots=True)
class Preview:
    """`effects`: what would break comes first, then what moves most. `weight`: requests per second of all names, or
    their number if `measured` is False: nobody calls. `silent`: by URL, why it is not known what a replica's agents
    use."""

    names: int
    effects: Sequence[Effect]
    unknown: Sequence[Unknown]
    weight: float
    measured: bool
    limit: float | None
    silent: Mapping[str, str] = field(default_factory=dict)

    def share(self, effect: Effect) -> float:
        return effect.rate * effect.moves / self.weight if self.weight else 0.0

    @property
    def moved_share(self) -> float:
        return sum(map(self.share, self.effects))

    @property
    def unknown_share(self) -> float:
        return sum(each.rate for each in self.unknown) / self.weight if self.weight else 0.0

    @property
    def refused(self) -> bool:
        """What nobody knows may move, and what agents of a silent replica use may be all there is."""
        if self.limit is None:
            return False
        return (bool(self.silent) and self.limit < 1) or round(self.moved_share + self.unknown_share, 9) > self.limit


def preview(
    uses: Sequence[Use], before: Rules, after: Rules, options: Options, state: AskState, limit: float | None = None
) -> Preview:
    uses, measured = weighed(uses)
    foresight = Foresight(before, after, options, state)
    return summary(uses, [each for use in uses for each in foresight.of(use)], measured=measured, limit=limit)


def weighed(uses: Sequence[Use]) -> tuple[Sequence[Use], bool]:
    """While nobody calls, each name counts as one request. Whether somebody does."""
    if any(rate > 0 for use in uses for rate in use.rates.values()):
        return uses, True
    alike = [Use(use.router, use.path, dict.fromkeys(use.rates, 1 / (len(use.rates) or 1))) for use in uses]
    return alike, False


def summary(uses: Sequence[Use], found: Iterable[Effect | Unknown], *, measured: bool, limit: float | None) -> Preview:
    effects: list[Effect] = []
    unknown: list[Unknown] = []
    for each in found:
        if isinstance(each, Effect):
            effects.append(each)
        else:
            unknown.append(each)
    effects.sort(key=lambda each: (not each.breaks, -each.moves * each.rate, each.use.path, each.use.router))
    weight = sum(rate for use in uses for rate in use.rates.values())
    return Preview(len(uses), effects, unknown, weight, measured, limit)


def as_json(seen: Preview) -> dict[str, object]:
    return {
        "names": seen.names,
        "changed": [_changed(seen, each) for each in seen.effects],
        "unknown": [_unknown(seen, each) for each in seen.unknown],
        "moved_share": round(seen.moved_share, 6),
        "unknown_share": round(seen.unknown_share, 6),
        "by": "requests" if seen.measured else "names",
        "silent": dict(seen.silent),
        "limit": seen.limit,
        "refused": seen.refused,
    }


def _changed(seen: Preview, effect: Effect) -> dict[str, object]:
    before, after = effect.before, effect.after
    return {
        "name": effect.use.path.show(),
        "router": effect.use.router,
        "before": before.tree,
        "after": after.tree,
        "outcome_before": before.outcome,
        "outcome_after": after.outcome,
        "breaks": effect.breaks,
        "before_endpoints": len(before.endpoints),
        "after_endpoints": len(after.endpoints),
        "gained": _beyond(after, before),
        "lost": _beyond(before, after),
        "share": round(seen.share(effect), 6),
        "moves": round(effect.moves, 6),
        "rate": round(effect.rate, 3) if seen.measured else 0.0,
        "settings": effect.settings,
        "copies": [{"to": each.to.show(), "before": each.before, "after": each.after} for each in effect.copies],
        "agents": effect.agents[:MOST_AGENTS],
        "note": effect.note,
    }


def _unknown(seen: Preview, unknown: Unknown) -> dict[str, object]:
    return {
        "name": unknown.use.path.show(),
        "router": unknown.use.router,
        "rate": round(unknown.rate, 3) if seen.measured else 0.0,
        "agents": unknown.agents[:MOST_AGENTS],
        "reason": unknown.reason,
    }


def _beyond(one: Destination, other: Destination) -> list[str]:
    """The endpoints that only `one` has."""
    if one.endpoints == other.endpoints:
        return []
    elsewhere = {each.key for each in other.endpoints}
    only = (each for each in one.endpoints if each.key not in elsewhere)
    return [_shown(each) for each in islice(only, MOST_ENDPOINTS) if not each.address.startswith(COUNTED_ONLY)]


def _shown(endpoint: Endpoint) -> str:
    return f"[{endpoint.address}]:{endpoint.port}" if ":" in endpoint.address else f"{endpoint.address}:{endpoint.port}"
