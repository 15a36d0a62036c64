"""What `GET /events` tells -> what it means for a container. Pure.

Docker tells of an event while it still holds the container's lock, so to ask about the container may take as long as
what goes on with it. What the event itself says is therefore believed, and only the rest is asked.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from discovery.docker.labels import service
from discovery.docker.reading import malformed
from discovery.docker.records import Container, State, health

STARTED = frozenset({"create", "start", "rename"})
DIED = frozenset({"die", "died"})
GONE = frozenset({"destroy", "remove"})
CONNECTED = frozenset({"connect", "disconnect"})
HEALTH = "health_status"
FILTERS: Mapping[str, list[str]] = {
    "type": ["container", "network"],
    "event": sorted(STARTED | DIED | GONE | CONNECTED | {HEALTH, "kill", "pause", "unpause"}),
}
"""Without them every health probe is three events. `died` and `remove`: Podman's own words."""
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL})


class Kind(Enum):
    ASK = "ask"
    CONNECTED = "connected"
    DIED = "died"
    GONE = "gone"
    HEALTH = "health"
    PAUSED = "paused"
    RESUMED = "resumed"
    SIGNAL = "signal"


_KINDS = {
    **dict.fromkeys(STARTED, Kind.ASK),
    **dict.fromkeys(DIED, Kind.DIED),
    **dict.fromkeys(GONE, Kind.GONE),
    HEALTH: Kind.HEALTH,
    "kill": Kind.SIGNAL,
    "pause": Kind.PAUSED,
    "unpause": Kind.RESUMED,
}


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    kind: Kind
    value: str = ""
    """The health or the signal's number."""
    named: bool = False
    """The container is of a service; events of networks don't say."""


class _Actor(TypedDict):
    ID: str
    Attributes: NotRequired[dict[str, str] | None]


class _Told(TypedDict):
    Type: str
    Action: str
    Actor: _Actor
    HealthStatus: NotRequired[str | None]


_TOLD = TypeAdapter(_Told)


def event(line: bytes) -> Event | None:
    """None: none that matters here."""
    try:
        told = _TOLD.validate_json(line, strict=True)
    except ValidationError as error:
        raise malformed(error) from None
    action, _, value = told["Action"].partition(": ")
    attributes = told["Actor"].get("Attributes") or {}
    if told["Type"] == "network":
        if action not in CONNECTED:
            return None
        # Podman's actor is the container itself.
        return Event(attributes.get("container") or told["Actor"]["ID"], Kind.CONNECTED)
    if told["Type"] != "container" or action not in _KINDS:
        return None
    value = value or told.get("HealthStatus") or attributes.get("signal", "")
    return Event(told["Actor"]["ID"], _KINDS[action], value, service(attributes) is not None)


def after(container: Container, event: Event) -> Container | None:
    """The container after the event; None: the event does not say enough."""
    match event.kind:
        case Kind.DIED:
            return replace(container, state=State.STOPPED, health=health(""), draining=False)
        case Kind.CONNECTED if container.state is State.STOPPED:
            # It is being started or has just died; what comes of that is told at its end.
            return container
        case Kind.PAUSED if container.state is not State.STOPPED:
            return replace(container, state=State.PAUSED)
        case Kind.RESUMED if container.state is not State.STOPPED:
            return replace(container, state=State.RUNNING)
        case Kind.HEALTH if event.value and container.state is not State.STOPPED:
            return replace(container, health=health(event.value))
        case Kind.SIGNAL if event.value.isdecimal() and int(event.value) in _ENDING:
            return replace(container, draining=container.state is not State.STOPPED)
    return None


def ends(container: Container, event: Event) -> bool:
    """Whether the event is that this container is asked to stop."""
    number = int(event.value) if event.kind is Kind.SIGNAL and event.value.isdecimal() else 0
    return number in _ENDING or number == container.stop_signal
