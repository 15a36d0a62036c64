"""The bodies of `GET /containers/json` and `GET /containers/{id}/json` -> containers of services. Pure.

A container belongs to a service by its labels: `tieline.service` (`<service>` or `<project>/<service>`), else those of
Compose. Others are no concern of ours. Shapes: Docker Engine API 1.24 to 1.52, and Podman's version of it.
"""

from __future__ import annotations

import ipaddress
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from discovery.address import Health
from discovery.docker.labels import OURS, SERVICE, Key, service
from discovery.docker.reading import Malformed, checked, entries


class State(Enum):
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    """Created, restarting, exited, dead, being removed: it exists and can't be called."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """`address`: IPv4, else IPv6."""

    network: str
    address: str


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port of the container; where it is published, with the address and the port on its host."""

    private: int
    address: str = ""
    public: int = 0


@dataclass(frozen=True, slots=True)
class Container:
    id: str
    name: str
    key: Key
    state: State
    health: Health = Health.UNKNOWN
    labels: tuple[tuple[str, str], ...] = ()
    """Those that begin with `tieline.`, sorted."""
    attachments: tuple[Attachment, ...] = ()
    ports: tuple[Port, ...] = ()
    shares: str = ""
    """Whose network it has instead of its own: `host`, or a container's id."""
    stop_signal: int = signal.SIGTERM
    draining: bool = False
    """Was sent its stop signal and still runs."""


class _Health(TypedDict):
    Status: str


class _Network(TypedDict):
    IPAddress: NotRequired[str | None]
    GlobalIPv6Address: NotRequired[str | None]


class _Networks(TypedDict):
    Networks: NotRequired[dict[str, _Network | None] | None]


class _ListedPort(TypedDict):
    IP: NotRequired[str | None]
    PrivatePort: int
    PublicPort: NotRequired[int | None]
    Type: str


class _Listed(TypedDict):
    Id: str
    Names: list[str] | None
    State: str
    Status: str
    Labels: NotRequired[dict[str, str] | None]
    Ports: NotRequired[list[_ListedPort] | None]
    NetworkSettings: NotRequired[_Networks | None]
    Health: NotRequired[_Health | None]


class _State(TypedDict):
    Status: str
    Health: NotRequired[_Health | None]


class _Config(TypedDict):
    Labels: NotRequired[dict[str, str] | None]
    ExposedPorts: NotRequired[dict[str, object] | None]
    StopSignal: NotRequired[str | int | None]


class _HostConfig(TypedDict):
    NetworkMode: NotRequired[str | None]


class _Binding(TypedDict):
    HostIp: NotRequired[str | None]
    HostPort: str


class _Settings(_Networks):
    Ports: NotRequired[dict[str, list[_Binding] | None] | None]


class _Inspected(TypedDict):
    Id: str
    Name: str
    State: _State
    Config: _Config
    HostConfig: _HostConfig
    NetworkSettings: _Settings


_LISTED = TypeAdapter(_Listed)
_INSPECTED = TypeAdapter(_Inspected)
_STATES = {"running": State.RUNNING, "stopping": State.RUNNING, "paused": State.PAUSED}
_HEALTHS = {"healthy": Health.HEALTHY, "unhealthy": Health.UNHEALTHY, "starting": Health.UNHEALTHY}


def listed(body: str) -> Iterator[Container]:
    for index, entry in enumerate(entries(body)):
        yield from _listed(checked(_LISTED, entry, f"[{index}]"))


def inspected(entry: object) -> Container | None:
    """None: of no service."""
    found = checked(_INSPECTED, entry)
    labels = found["Config"].get("Labels") or {}
    key = service(labels)
    if key is None:
        return None
    settings = found["NetworkSettings"]
    mode = found["HostConfig"].get("NetworkMode") or ""
    return Container(
        id=found["Id"],
        name=found["Name"].lstrip("/") or found["Id"][:12],
        key=key,
        state=_STATES.get(found["State"]["Status"], State.STOPPED),
        health=_stated_health(found["State"]),
        labels=_ours(labels),
        attachments=_attachments(settings),
        ports=_ports(settings.get("Ports") or {}, found["Config"].get("ExposedPorts") or {}),
        shares="host" if mode == "host" else mode.partition("container:")[2],
        stop_signal=_signal(found["Config"].get("StopSignal")),
        draining=found["State"]["Status"] == "stopping",
    )


def sharing(container: Container, other: object) -> Container:
    """`container`, which has the network of another one (`--network container:…`), with that one's addresses.

    Which ports are the container's own, and not the other's, only its own image or its label says.
    """
    found = checked(_INSPECTED, other)
    settings = found["NetworkSettings"]
    published = tuple(port for port in _ports(settings.get("Ports") or {}, {}) if port.public)
    exposed = {port.private for port in container.ports}
    hidden = tuple(port for port in container.ports if port.private not in {each.private for each in published})
    labelled = any(key == "tieline.port" for key, _ in container.labels)
    return replace(
        container,
        attachments=_attachments(settings),
        ports=hidden + tuple(port for port in published if labelled or port.private in exposed),
        shares="host" if found["HostConfig"].get("NetworkMode") == "host" else container.shares,
    )


def tells_all(container: Container) -> bool:
    """Whether the list said what there is to know: it has no ports of host networks, of macvlan, nor of shared ones."""
    if container.state is State.STOPPED:
        return True
    has_port = bool(container.ports) or any(key == "tieline.port" for key, _ in container.labels)
    return has_port and bool(container.attachments)


def health(status: str) -> Health:
    """Of a health check's status; one that is not healthy yet is not called yet."""
    return _HEALTHS.get(status, Health.UNKNOWN)


def _listed(entry: _Listed) -> Iterator[Container]:
    labels = entry.get("Labels") or {}
    key = service(labels)
    if key is None:
        return
    names = entry["Names"] or ()
    yield Container(
        id=entry["Id"],
        # A link gives a container a second name, `/<other>/<alias>`.
        name=min((name.lstrip("/") for name in names if name.count("/") < 2), default="") or entry["Id"][:12],
        key=key,
        state=_STATES.get(entry["State"], State.STOPPED),
        health=_listed_health(entry),
        labels=_ours(labels),
        attachments=_attachments(entry.get("NetworkSettings") or {}),
        ports=tuple(
            sorted(
                (_listed_port(port) for port in entry.get("Ports") or () if port["Type"] == "tcp"),
                key=lambda port: (port.private, port.address, port.public),
            )
        ),
        draining=entry["State"] == "stopping",
    )


def _stated_health(state: _State) -> Health:
    stated = state.get("Health")
    return health(stated["Status"]) if stated else Health.UNKNOWN


def _listed_health(entry: _Listed) -> Health:
    """Before API 1.52 only the text for people has it: `Up 2 minutes (healthy)`, `… (health: starting)`."""
    stated = entry.get("Health")
    if stated:
        return health(stated["Status"])
    return health(entry["Status"].rpartition("(")[2].rstrip(")").removeprefix("health: "))


def _listed_port(port: _ListedPort) -> Port:
    return Port(port["PrivatePort"], _literal(port.get("IP")), port.get("PublicPort") or 0)


def _ports(bindings: Mapping[str, list[_Binding] | None], exposed: Mapping[str, object]) -> tuple[Port, ...]:
    found = []
    for text in {**exposed, **bindings}:
        number, _, protocol = text.partition("/")
        if protocol not in ("", "tcp"):
            continue
        published = bindings.get(text) or ()
        found += [Port(_number(number), _literal(each.get("HostIp")), _number(each["HostPort"])) for each in published]
        if not published:
            found.append(Port(_number(number)))
    return tuple(sorted(found, key=lambda port: (port.private, port.address, port.public)))


def _attachments(settings: _Networks) -> tuple[Attachment, ...]:
    """Docker's own bridge first, the others by name; those that gave it no address are none."""
    networks = {name: network or {} for name, network in (settings.get("Networks") or {}).items()}
    ordered = sorted(networks, key=lambda name: (name not in ("bridge", "podman"), name))
    found = [Attachment(name, address) for name in ordered if (address := _address(networks[name]))]
    return tuple(found)


def _address(network: _Network) -> str:
    return _literal(network.get("IPAddress") or network.get("GlobalIPv6Address"))


def _ours(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in labels.items() if key.startswith(OURS) and key != SERVICE))


def _signal(said: str | int | None) -> int:
    """`SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`; one that nobody knows is the usual one."""
    name, _, more = str(said or "").upper().removeprefix("SIG").partition("+")
    if name.isdecimal():
        return int(name)
    known = {each.name.removeprefix("SIG"): int(each) for each in signal.Signals}
    return known.get(name, signal.SIGTERM) + (int(more) if more.isdecimal() else 0)


def _literal(text: str | None) -> str:
    if not text:
        return ""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise Malformed(f"an IP address expected, not {text[:50]!r}") from None
    return text


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise Malformed(f"a port expected, not {text[:50]!r}")
    return int(text)
