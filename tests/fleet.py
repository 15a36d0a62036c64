"""A control plane and agents of it with their Envoys, all real, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from mesh.control.grants import Role, digest, new_token
from scripts.running import Agent, ControlPlane, agent, control


@dataclass(frozen=True, slots=True)
class Fleet:
    control: ControlPlane
    agents: dict[str, Agent]


@contextmanager
def fleet(place: Path, sources: list[dict[str, object]], *names: str) -> Iterator[Fleet]:
    """`names`: of the agents. They have no table and no sources of their own, and are not waited for."""
    token = new_token()
    (place / "agent.token").write_text(token)
    grants = {"tokens": [{"name": "fleet", "role": str(Role.AGENT), "sha256": digest(token)}]}
    (place / "tokens.yaml").write_text(yaml.safe_dump(grants))
    settings = {"sources": sources, "tokens_file": str(place / "tokens.yaml")}
    with ExitStack() as stack:
        running = stack.enter_context(control(place, settings))
        agents = {}
        for name in names:
            (place / name).mkdir()
            joined = {"url": running.url, "name": name, "token_file": str(place / "agent.token")}
            agents[name] = stack.enter_context(agent(place / name, {"control": joined}))
        yield Fleet(running, agents)
