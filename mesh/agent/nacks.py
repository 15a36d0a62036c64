"""What Envoy refused, and which name and dentry it came from. Each is an incident: logged, and kept for status."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable

from mesh.agent.binder import Binder
from mesh.agent.names import Name
from mesh.envoy.names import scope_resource
from mesh.naming.show import show_prefix, show_tree
from mesh.naming.trace import Step
from mesh.policy.effective import Policies
from mesh.xds.events import Nack
from mesh.xds.server import Ads
from mesh.xds.status import Standing

logger = logging.getLogger("tieline.nacks")

KEPT = 50


class Nacks:
    def __init__(self, binder: Binder, ads: Ads, policies: Policies | None = None) -> None:
        self._binder = binder
        self._policies = policies or Policies()
        self._ads = ads
        self._recent: deque[dict[str, object]] = deque(maxlen=KEPT)
        self.count = 0

    def refused(self, nack: Nack) -> None:
        for resource in nack.culprits:
            self.count += 1
            because = self._because(resource)
            kind = nack.type_url.rpartition(".")[2]
            row = {"at": time.time(), "type": kind, "resource": resource, "message": nack.message, "because": because}
            row["type_url"] = nack.type_url
            self._recent.append(row)
            fields = {"type": kind, "resource": resource, "message": nack.message, "because": "; ".join(because)}
            logger.error("Envoy refused a resource and keeps the last good one", extra={"fields": fields})

    def rows(self) -> list[dict[str, object]]:
        """`resolved`: no connected proxy refuses this resource any more."""
        return [{**row, "resolved": not self._is_refused(row)} for row in self._recent]

    def _is_refused(self, row: dict[str, object]) -> bool:
        standings = self._ads.holdings(str(row["type_url"]), str(row["resource"]))
        return any(each.standing is Standing.REFUSED for each in standings)

    def _because(self, resource: str) -> list[str]:
        """The names that need this resource, each with the dentries that led there and its policies."""
        return [
            f"{name.path.show()} by {_dentries(self._binder.way(name))}{self._entries(name)}"
            for name in self._needing(resource)
        ][:5]

    def _entries(self, name: Name) -> str:
        found = {entry: None for id in (None, *name.clusters) for entry in self._policies.matching(name.path, id)}
        shown = ", ".join(f"{entry.match} ({entry.where})" for entry in found)
        return f" with the policies {shown}" if shown else ""

    def _needing(self, resource: str) -> Iterable[Name]:
        for name in self._binder.names:
            owned = {scope_resource(name.router, name.key), *name.targets}
            if name.fixed:
                owned.add(name.router)
            if resource in owned:
                yield name


def _dentries(way: Step) -> str:
    dentries = {id(step.dentry): step.dentry for step in _walk(way) if step.dentry}
    shown = (f"{show_prefix(each.prefix)} => {show_tree(each.tree)} (line {each.line})" for each in dentries.values())
    return ", ".join(shown) or "no dentry"


def _walk(step: Step) -> Iterable[Step]:
    yield step
    chosen = [step.steps[step.chosen]] if step.chosen is not None and step.chosen < len(step.steps) else step.steps
    for each in chosen:
        yield from _walk(each)
