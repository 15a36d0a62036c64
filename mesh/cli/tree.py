"""Draws the explanation of a name: which way was taken, which were refused and why, and what is at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from mesh.cli.answer import Answer, count, entries, number, section, text, yes
from mesh.cli.printing import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

TAKEN, REFUSED, ENDED = "✓ ", "✗ ", "· "
MOST_ENDPOINTS = 20


@dataclass(frozen=True, slots=True)
class Drawing:
    """`endpoints`: what is known of each bound name. `now`: seconds since the epoch."""

    endpoints: Answer
    now: float

    def tree(self, node: Answer) -> Tree:
        return self._grown(Tree(self._label(node, "", "")), node)

    def _grown(self, tree: Tree, node: Answer) -> Tree:
        for weight, child in _children(node):
            self._grown(tree.add(self._label(child, weight, _origin(node))), child)
        bound = section(node, "bound")
        if bound and yes(node, "taken"):
            for line in self._endpoints(section(self.endpoints, text(bound, "id"))):
                tree.add(line)
        return tree

    def _label(self, node: Answer, weight: str, above: str) -> Text:
        """A dentry is named once, not again for all that it led to: `above` is the one of the parent."""
        taken, verdict = yes(node, "taken"), text(node, "verdict", "")
        if section(node, "bound") and not taken and not yes(section(node, "state"), "usable"):
            verdict = verdict or "it can't serve"
        mark = TAKEN if taken else REFUSED if verdict else ENDED
        label = Text(mark + weight, style="" if taken else "dim")
        label.append(text(node, "path"), style="bold" if taken else "")
        if section(node, "bound"):
            label.append(self._bound(node))
        elif text(node, "type") == "alt":
            label.append("  the first of")
        elif text(node, "type") == "union":
            label.append("  split over")
        if verdict:
            label.append(f": {verdict}", style="" if taken else "red")
        label.append(self._source(node), style="dim")
        if (origin := _origin(node)) not in ("", above):
            label.append(f"   [{origin}]", style="cyan")
        return label

    def _bound(self, node: Answer) -> str:
        bound, state = section(node, "bound"), section(node, "state")
        residual = text(bound, "path", "/")
        endpoints = count(state, "endpoints")
        parts = [f"{endpoints or 'no'} endpoint{'s' * (endpoints > 1)}"]
        if endpoints and not yes(state, "usable"):
            parts.append("none usable")
        if text(bound, "id") != text(node, "path") and residual == "/":
            parts.insert(0, f"is {text(bound, 'id')}")
        if residual != "/":
            parts.append(f"residual {residual}")
        if held := text(state, "held", ""):
            parts.append(f"HELD at the last known good{self._since(state)}: {held}")
        return f": {', '.join(parts)}"

    def _source(self, node: Answer) -> str:
        """Whose word it is, how that source hears of changes, and when it last said so."""
        source, state = section(node, "source"), section(node, "state")
        told = ", ".join(each for key in ("kind", "freshness") if (each := text(source, key, "")))
        parts = [f"source {text(source, 'prefix')}: {told}"] if source else []
        if through := text(source, "through", ""):
            parts.append(f"through the {through}")
        if confirmed := number(state, "confirmed_at"):
            parts.append(f"confirmed {self._ago(confirmed)}")
        if text(state, "held", "") and not section(node, "bound"):
            parts.append(f"held{self._since(state)}")
        return f" ({'; '.join(parts)})" if parts else ""

    def _since(self, state: Answer) -> str:
        since = number(state, "held_since")
        return f" since {self._ago(since)}" if since else ""

    def _ago(self, at: float) -> str:
        return f"{duration(max(0.0, self.now - at))} ago"

    def _endpoints(self, known: Answer) -> Iterable[Text]:
        endpoints = entries(known, "endpoints")
        for endpoint in endpoints[:MOST_ENDPOINTS]:
            yield Text(_endpoint(endpoint))
        if len(endpoints) > MOST_ENDPOINTS:
            yield Text(f"… and {len(endpoints) - MOST_ENDPOINTS} more; `-o json` shows all", style="dim")


def drawing(tree: Answer, endpoints: Answer, moment: float | None = None) -> Tree:
    """`moment`: ages are told as of then, in seconds since the epoch."""
    return Drawing(endpoints, time.time() if moment is None else moment).tree(tree)


def _children(node: Answer) -> Iterable[tuple[str, Answer]]:
    if delegate := section(node, "delegate"):
        yield "", delegate
    for branch in entries(node, "alt"):
        yield "", branch
    for weighted in entries(node, "union"):
        yield f"{number(weighted, 'weight') or 0:g} * ", section(weighted, "tree")


def _origin(node: Answer) -> str:
    dentry, where, line = section(node, "dentry"), text(node, "where", ""), text(node, "line", "")
    if not dentry:
        return ""
    place = f"{where}:{line}" if where and line else where or (f"line {line}" if line else "")
    return f"{place}  {text(dentry, 'prefix')} => {text(dentry, 'dst')}".strip()


def _endpoint(endpoint: Answer) -> str:
    address = text(endpoint, "address")
    shown = f"[{address}]" if ":" in address else address
    weight, health = number(endpoint, "weight"), text(endpoint, "health", "")
    parts = [
        f"{shown}:{text(endpoint, 'port')}",
        text(endpoint, "origin", ""),
        "" if weight in (None, 1.0) else f"weight {weight:g}",
        "" if health in ("unknown", "healthy") else health,
        f"zone {text(endpoint, 'zone')}" if text(endpoint, "zone", "") else "",
        f"on {text(endpoint, 'host')}" if text(endpoint, "host", "") else "",
        "not in the subset" if endpoint.get("in_subset") is False else "",
        f"counted in {text(endpoint, 'counted_in')}" if text(endpoint, "counted_in", "") else "",
    ]
    return "  ".join(part for part in parts if part)
