"""The body of `/v1/health/service/<service>` -> records -> `Addr`. Pure.

An instance is as well as the worst of its checks; one in maintenance is not served. Addresses may still be host names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NotRequired, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from discovery.address import PROTOCOLS, Addr, Endpoint, Health, Neg, bound
from discovery.dns.records import is_literal

T = TypeVar("T")


class Malformed(ValueError):
    """The body is not what Consul answers; the text says where."""


class Node(TypedDict):
    Node: str
    Address: str
    Meta: NotRequired[dict[str, str] | None]
    TaggedAddresses: NotRequired[dict[str, str] | None]


class TaggedAddress(TypedDict):
    Address: str
    Port: int


class Weights(TypedDict):
    Passing: int
    Warning: int


class Service(TypedDict):
    ID: str
    Address: str
    Port: int
    Tags: NotRequired[list[str] | None]
    Meta: NotRequired[dict[str, str] | None]
    TaggedAddresses: NotRequired[dict[str, TaggedAddress] | None]
    Weights: NotRequired[Weights | None]


class Check(TypedDict):
    CheckID: str
    Status: str


class Instance(TypedDict):
    Node: Node
    Service: Service
    Checks: list[Check]


_INSTANCES = TypeAdapter(list[Instance])
_TAGS = TypeAdapter(dict[str, list[str] | None])
_NAMES = TypeAdapter(list[str])


@dataclass(frozen=True, slots=True)
class Rules:
    """What of an instance is used. `tagged_address`: the key of an address to prefer, such as `wan`."""

    warning: bool = False
    tagged_address: str | None = None
    zone_meta: str = "zone"
    tags: bool = False
    """Whether they are needed."""


@dataclass(frozen=True, slots=True)
class Record:
    """One instance. `endpoint`: None when it may not be called; `tags`: in small letters, as Consul compares them."""

    endpoint: Endpoint | None
    tags: tuple[str, ...] = ()


def instances(body: bytes) -> list[Instance]:
    return _parsed(_INSTANCES, body)


def service_tags(body: bytes) -> dict[str, list[str] | None]:
    """The body of `/v1/catalog/services`."""
    return _parsed(_TAGS, body)


def names(body: bytes) -> list[str]:
    """The body of `/v1/catalog/datacenters`."""
    return _parsed(_NAMES, body)


def records(listed: list[Instance], rules: Rules) -> tuple[Record, ...]:
    """In an order that does not depend on Consul's."""
    ordered = sorted(listed, key=lambda instance: (instance["Node"]["Node"], instance["Service"]["ID"]))
    return tuple(Record(_endpoint(instance, rules), _tags(instance) if rules.tags else ()) for instance in ordered)


def unresolved(found: Iterable[Record]) -> set[str]:
    """Their addresses that are host names."""
    return {endpoint.address for endpoint in _endpoints(found) if not is_literal(endpoint.address)}


def tagged(found: Iterable[Record], tag: str) -> tuple[Record, ...]:
    return tuple(record for record in found if tag.lower() in record.tags)


def addr(found: Sequence[Record], addresses: Mapping[str, tuple[str, ...]]) -> Addr:
    """A service of which nothing may be called still exists."""
    if not found:
        return Neg()
    return bound(
        replace(endpoint, address=address) if address != endpoint.address else endpoint
        for endpoint in _endpoints(found)
        for address in addresses.get(endpoint.address, (endpoint.address,))
    )


def _endpoints(found: Iterable[Record]) -> Iterator[Endpoint]:
    return (record.endpoint for record in found if record.endpoint is not None)


def _tags(instance: Instance) -> tuple[str, ...]:
    return tuple(tag.lower() for tag in instance["Service"].get("Tags") or ())


def _endpoint(instance: Instance, rules: Rules) -> Endpoint | None:
    node, service = instance["Node"], instance["Service"]
    weight = _weight(instance, rules)
    address, port = _address(node, service, rules.tagged_address)
    if weight <= 0 or not address or not 0 < port < 65536:
        return None
    meta = service.get("Meta") or {}
    return Endpoint(
        address=address,
        port=port,
        weight=float(weight),
        zone=meta.get(rules.zone_meta) or (node.get("Meta") or {}).get(rules.zone_meta, ""),
        health=Health.HEALTHY,
        host=node["Node"],
        protocol=PROTOCOLS.get(meta.get("protocol", "").lower()),
        metadata=tuple(sorted(meta.items())),
        origin=f"{service['ID']} on {node['Node']}",
    )


def _weight(instance: Instance, rules: Rules) -> int:
    """0: not to be called. A status Consul does not know today counts as critical."""
    weights = instance["Service"].get("Weights") or Weights(Passing=1, Warning=1)
    statuses = {check["Status"] for check in instance["Checks"]}
    if not statuses - {"passing"}:
        return weights["Passing"]
    if rules.warning and not statuses - {"passing", "warning"}:
        return weights["Warning"]
    return 0


def _address(node: Node, service: Service, tag: str | None) -> tuple[str, int]:
    """As Consul translates addresses: the service's before its node's, the tagged one of each before the plain one."""
    tagged = (service.get("TaggedAddresses") or {}).get(tag or "")
    if tagged is not None and tagged["Address"]:
        return tagged["Address"], tagged["Port"] or service["Port"]
    if service["Address"]:
        return service["Address"], service["Port"]
    return (node.get("TaggedAddresses") or {}).get(tag or "") or node["Address"], service["Port"]


def _parsed(adapter: TypeAdapter[T], body: bytes) -> T:
    try:
        return adapter.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Malformed(f"{where}: {first['msg']}" if where else first["msg"]) from None
