"""The labels that say which service a container is of. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Key = tuple[str, str]
"""Project and service."""

PLAIN = "-"
"""The project of containers that Compose did not start."""
OURS = "tieline."
SERVICE = "tieline.service"
_COMPOSE = "com.docker.compose."


def service(labels: Mapping[str, str]) -> Key | None:
    """Of which service a container with these labels is. One that `docker compose run` started once is of none."""
    project = labels.get(f"{_COMPOSE}project") or PLAIN
    named = labels.get(SERVICE)
    if named:
        before, slash, after = named.partition("/")
        return (before or PLAIN, after) if slash and after else (project, before) if not slash else None
    composed = labels.get(f"{_COMPOSE}service")
    if composed and labels.get(f"{_COMPOSE}oneoff", "").lower() != "true":
        return project, composed
    return None
