"""Which port of an app is called, and what it is known to speak. Pure.

    host              host + ports[i]                portDefinitions (before 0.16: `ports`, without names)
    container/bridge  host + ports[i]                container.portMappings (before 1.5: container.docker's)
    container         ipAddresses[0] + containerPort the same; before 1.5: ipAddress.discovery.ports

Source: `docs/docs/networking.md` and `docs/docs/ports.md` of Marathon's source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NotRequired

from typing_extensions import TypedDict


class NoSuchPort(ValueError):
    """The app has no such port, or another label of ours makes no sense; the text says which."""


@dataclass(frozen=True, slots=True)
class Rules:
    """`port`: an index or a name, unless the app's label `tieline.port` says otherwise. `labels`: become metadata."""

    port: int | str = 0
    labels: tuple[str, ...] = ()


class _Port(TypedDict):
    """A portDefinition, a portMapping, or a port of `ipAddress.discovery`."""

    name: NotRequired[str | None]
    labels: NotRequired[dict[str, str] | None]
    containerPort: NotRequired[int | None]
    hostPort: NotRequired[int | None]
    number: NotRequired[int | None]


class _Docker(TypedDict):
    network: NotRequired[str | None]
    portMappings: NotRequired[list[_Port] | None]


class _Container(TypedDict):
    portMappings: NotRequired[list[_Port] | None]
    docker: NotRequired[_Docker | None]


class _Network(TypedDict):
    mode: NotRequired[str | None]


class _Discovery(TypedDict):
    ports: NotRequired[list[_Port] | None]


class _IpPerTask(TypedDict):
    discovery: NotRequired[_Discovery | None]


class Definition(TypedDict):
    """What of an app tells about its ports, and whether its tasks are checked."""

    labels: NotRequired[dict[str, str] | None]
    ports: NotRequired[list[int] | None]
    portDefinitions: NotRequired[list[_Port] | None]
    networks: NotRequired[list[_Network] | None]
    container: NotRequired[_Container | None]
    ipAddress: NotRequired[_IpPerTask | None]
    healthChecks: NotRequired[list[object] | None]


@dataclass(frozen=True, slots=True)
class Selected:
    """`number`: the port in the container; 0 where it is the task's port at `index`, which Marathon has chosen."""

    index: int
    name: str
    protocol: str
    own_address: bool
    number: int = 0


def selected(app: Definition, labels: Mapping[str, str], rules: Rules) -> Selected | None:
    """None: the app has no ports. Raises NoSuchPort."""
    own_address = _has_own_address(app)
    declared = _declared(app, own_address=own_address)
    if not declared:
        return None
    index = _index(declared, labels.get("tieline.port", rules.port), is_label="tieline.port" in labels)
    port = declared[index]
    protocol = (port.get("labels") or {}).get("tieline.protocol", "")
    if not own_address:
        return Selected(index, port.get("name") or "", protocol, own_address=False)
    number = port.get("containerPort") or port.get("number") or 0
    # Of a container with its own address, only the mapped ports are among the task's.
    mapped = sum(other.get("hostPort") is not None for other in declared[:index])
    return Selected(mapped, port.get("name") or "", protocol, own_address=True, number=number)


def task_port(port: Selected, ports: Sequence[int]) -> int:
    """0: it has none (yet)."""
    number = port.number or (ports[port.index] if port.index < len(ports) else 0)
    return number if 0 < number < 65536 else 0


def _has_own_address(app: Definition) -> bool:
    networks = app.get("networks")
    if networks:
        return any(network.get("mode") == "container" for network in networks)
    docker = (app.get("container") or {}).get("docker") or {}
    return app.get("ipAddress") is not None or docker.get("network") == "USER"


def _declared(app: Definition, *, own_address: bool) -> list[_Port]:
    container = app.get("container") or {}
    mappings = container.get("portMappings") or (container.get("docker") or {}).get("portMappings")
    definitions = app.get("portDefinitions") or [_Port() for _ in app.get("ports") or ()]
    if own_address:
        discovery = (app.get("ipAddress") or {}).get("discovery") or {}
        return mappings or discovery.get("ports") or []
    return definitions if _is_on_host(app) or not mappings else mappings


def _is_on_host(app: Definition) -> bool:
    """Port mappings are ignored by Marathon there."""
    networks = app.get("networks")
    if networks:
        return any(network.get("mode") == "host" for network in networks)
    return ((app.get("container") or {}).get("docker") or {}).get("network") == "HOST"


def _index(declared: Sequence[_Port], wanted: int | str, *, is_label: bool) -> int:
    names = [port.get("name") or "" for port in declared]
    if isinstance(wanted, str) and wanted and wanted in names:
        return names.index(wanted)
    is_index = isinstance(wanted, int) or (wanted.isascii() and wanted.isdecimal())
    if is_index and int(wanted) < len(declared):
        return int(wanted)
    said = f"its label tieline.port is {wanted!r}" if is_label else f"`port` is {wanted!r}"
    has = ", ".join(f"{index} {name}".rstrip() for index, name in enumerate(names))
    raise NoSuchPort(f"{said}; its ports are {has}")
