"""A container -> the endpoint it is, or why it can be none. Pure."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable
from dataclasses import dataclass

from discovery.address import PROTOCOLS, Addr, Endpoint, Health, Neg, Protocol, bound
from discovery.docker.records import Attachment, Container, Port, State

_META = "tieline.meta."


class Unclear(ValueError):
    """Where the container is to be called can't be told; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How containers are reached from here."""

    published: bool
    """By the ports that their host publishes, not by their own addresses."""
    local: bool
    """Their host is this one."""
    host_address: str
    """Of the host they run on, as it is reached from here."""
    host: str = ""
    network: str | None = None


def addr(containers: Iterable[Container], rules: Rules) -> Addr:
    """A service of which nothing runs still exists. Raises Unclear."""
    listed = sorted(containers, key=lambda container: (container.name, container.id))
    if not listed:
        return Neg()
    found = (endpoint(container, rules) for container in listed if container.state is not State.STOPPED)
    return bound(each for each in found if each is not None)


def endpoint(container: Container, rules: Rules) -> Endpoint | None:
    """None: it is on no network. Raises Unclear."""
    labels = dict(container.labels)
    port = _port(container, labels)
    place = _place(container, port, labels, rules)
    if place is None:
        return None
    return Endpoint(
        address=place[0],
        port=place[1],
        weight=_weight(container, labels),
        zone=labels.get("tieline.zone", ""),
        health=_health(container),
        host=rules.host,
        protocol=_protocol(container, labels),
        metadata=tuple((key.removeprefix(_META), value) for key, value in container.labels if key.startswith(_META)),
        origin=container.name,
    )


def _health(container: Container) -> Health:
    if container.draining:
        return Health.DRAINING
    return Health.UNHEALTHY if container.state is State.PAUSED else container.health


def _port(container: Container, labels: dict[str, str]) -> int:
    label = labels.get("tieline.port")
    if label is not None:
        if not label.isascii() or not label.isdecimal() or not 0 < int(label) < 65536:
            raise Unclear(f"the label tieline.port of {container.name} is {label[:50]!r}: a port expected")
        return int(label)
    exposed = sorted({port.private for port in container.ports})
    if len(exposed) == 1:
        return exposed[0]
    listed = " and ".join(map(str, exposed)) if exposed else "no TCP port"
    raise Unclear(f"{container.name} exposes {listed}: label it tieline.port")


def _place(container: Container, port: int, labels: dict[str, str], rules: Rules) -> tuple[str, int] | None:
    if container.shares == "host":
        return rules.host_address, port
    if rules.published:
        return _published(container, port, rules)
    attachment = _attachment(container, labels.get("tieline.network") or rules.network)
    return (attachment.address, port) if attachment is not None else None


def _attachment(container: Container, wanted: str | None) -> Attachment | None:
    found = {each.network: each for each in container.attachments}
    if not found:
        return None
    if wanted is None:
        return container.attachments[0]
    # Compose puts the project before the name that its file has.
    chosen = found.get(wanted) or found.get(f"{container.key[0]}_{wanted}")
    if chosen is None:
        raise Unclear(
            f"{container.name} is on {' and '.join(sorted(found))}, not on {wanted}: correct its label"
            " tieline.network, or `network` of this source"
        )
    return chosen


def _published(container: Container, port: int, rules: Rules) -> tuple[str, int]:
    for binding in sorted(
        (each for each in container.ports if each.private == port and each.public), key=_wide_and_ipv4_first
    ):
        address = _reachable(binding.address, rules)
        if address is not None:
            return address, binding.public
    raise Unclear(f"port {port} of {container.name} is not published where we reach it: publish it (-p {port})")


def _wide_and_ipv4_first(binding: Port) -> tuple[bool, bool, str, int]:
    return not _is_any(binding.address), ":" in binding.address, binding.address, binding.public


def _reachable(address: str, rules: Rules) -> str | None:
    if _is_any(address):
        return rules.host_address
    if ipaddress.ip_address(address).is_loopback and not rules.local:
        return None
    return address


def _is_any(address: str) -> bool:
    return address in ("", "0.0.0.0", "::")  # noqa: S104 - what a published port is bound to, not what we bind


def _weight(container: Container, labels: dict[str, str]) -> float:
    label = labels.get("tieline.weight", "1")
    try:
        weight = float(label)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise Unclear(f"the label tieline.weight of {container.name} is {label[:50]!r}: a number expected")
    return weight


def _protocol(container: Container, labels: dict[str, str]) -> Protocol | None:
    label = labels.get("tieline.protocol")
    if label is None:
        return None
    if label.lower() not in PROTOCOLS:
        raise Unclear(
            f"the label tieline.protocol of {container.name} is {label[:50]!r}: http, http2, grpc or tcp expected"
        )
    return PROTOCOLS[label.lower()]
