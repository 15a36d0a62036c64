"""What all replicas of a control plane know together: each hears of the agents that are connected to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesh.cli.answer import Answer, count, entries, number, text, texts, yes
from mesh.cli.control_client import ControlPlane, Denied, Unreachable

NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Asked:
    """By replica, as it is named on the command line. `silent`: why some have not answered; at least one has."""

    answers: dict[str, Answer] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


def ask(plane: ControlPlane, path: str, **query: str | None) -> Asked:
    """Raises Unreachable if none answers, Denied if one says no."""
    asked = Asked()
    for replica in plane.replicas():
        try:
            asked.answers[replica.where] = replica.ask(path, **query)
        except Unreachable as error:
            asked.silent[replica.where] = str(error)
    if not asked.answers:
        raise Unreachable("\n".join(asked.silent.values()))
    return asked


def first(plane: ControlPlane, path: str, query: Mapping[str, object]) -> Answer:
    """Of the first replica that knows what is asked for: an agent is known to that which it is connected to."""
    *others, last = plane.replicas()
    for replica in others:
        try:
            return replica.ask(path, **query)
        except Unreachable:
            continue
        except Denied as denied:
            if denied.status != NOT_FOUND:
                raise
    return last.ask(path, **query)


def agents(asked: Asked) -> list[Answer]:
    """Each once: as that replica tells it to which it is connected, else as the one that it left last."""
    found: dict[str, Answer] = {}
    for answer in asked.answers.values():
        for agent in entries(answer, "agents"):
            name = text(agent, "agent")
            if name not in found or _standing(agent) > _standing(found[name]):
                found[name] = agent
    return [found[name] for name in sorted(found)]


def names(asked: Asked) -> list[Answer]:
    """Each once, counted at all replicas; what is called most comes first."""
    found: dict[tuple[str, str], list[Answer]] = {}
    for answer in asked.answers.values():
        for row in entries(answer, "names"):
            found.setdefault((text(row, "router"), text(row, "name")), []).append(row)
    rows = [_sum(same) if len(same) > 1 else same[0] for same in found.values()]
    return sorted(rows, key=lambda row: (-(number(row, "rate") or 0), text(row, "name"), text(row, "router")))


def _standing(agent: Answer) -> tuple[bool, float]:
    return yes(agent, "connected"), number(agent, "since") or 0


def _sum(rows: list[Answer]) -> Answer:
    """Of one name."""
    return Answer(
        {
            **rows[0],
            "rate": round(sum(number(row, "rate") or 0 for row in rows), 3),
            "requests": sum(count(row, "requests") for row in rows),
            "failures": sum(count(row, "failures") for row in rows),
            "agents": sorted({agent for row in rows for agent in texts(row, "agents")}),
            "bound": sorted({bound for row in rows for bound in texts(row, "bound")}),
            "seen_at": max(number(row, "seen_at") or 0 for row in rows),
        }
    )
