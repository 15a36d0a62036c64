"""Bodies of lists, and single objects, of EndpointSlices and Services -> records. Pure.

Shapes: `discovery.k8s.io/v1` EndpointSlice and `v1` Service, Kubernetes 1.21 and newer. Only what is needed is read, so
that the rest (`managedFields` above all) never becomes an object.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Generic, NotRequired, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from discovery.address import Health, Protocol

T = TypeVar("T")

Key = tuple[str, str]
"""Namespace and service."""

SERVICE_NAME = "kubernetes.io/service-name"
_PROTOCOLS = {
    "http": Protocol.HTTP1,
    "http1": Protocol.HTTP1,
    "kubernetes.io/ws": Protocol.HTTP1,
    "h2c": Protocol.HTTP2,
    "http2": Protocol.HTTP2,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "tcp": Protocol.TCP,
    # Encrypted from the client on: we can only pass it.
    "https": Protocol.TCP,
    "kubernetes.io/wss": Protocol.TCP,
    "tls": Protocol.TCP,
}
_FAMILIES = ("IPv4", "IPv6", "FQDN")
FQDN = "FQDN"


class Malformed(ValueError):
    """That is not what Kubernetes answers; the text says where."""


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port. `name`: '' for the only one of a service."""

    name: str
    number: int
    protocol: Protocol | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """An endpoint of a slice. `address`: a host name in a slice of FQDNs. `uid`, `origin`: of its pod."""

    address: str
    health: Health
    zone: str = ""
    host: str = ""
    uid: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """`service`: '' where it belongs to none. `family`: IPv4, IPv6 or FQDN. `flaw`: why it can't be used."""

    namespace: str
    name: str
    service: str
    family: str
    ports: tuple[Port, ...] = ()
    backends: tuple[Backend, ...] = ()
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """`external_name`: the host name that it is another name of; '' for all but `type: ExternalName`."""

    namespace: str
    name: str
    ports: tuple[Port, ...] = ()
    external_name: str = ""

    @property
    def service(self) -> str:
        return self.name


class Meta(TypedDict):
    name: str
    namespace: str
    resourceVersion: NotRequired[str]
    labels: NotRequired[dict[str, str] | None]


class _Port(TypedDict):
    name: NotRequired[str | None]
    port: NotRequired[int | None]
    protocol: NotRequired[str | None]
    appProtocol: NotRequired[str | None]


class _Conditions(TypedDict):
    ready: NotRequired[bool | None]
    serving: NotRequired[bool | None]
    terminating: NotRequired[bool | None]


class _Target(TypedDict):
    kind: NotRequired[str | None]
    namespace: NotRequired[str | None]
    name: NotRequired[str | None]
    uid: NotRequired[str | None]


class _Endpoint(TypedDict):
    addresses: list[str]
    conditions: NotRequired[_Conditions | None]
    targetRef: NotRequired[_Target | None]
    zone: NotRequired[str | None]
    nodeName: NotRequired[str | None]


class RawSlice(TypedDict):
    metadata: Meta
    addressType: str
    endpoints: NotRequired[list[_Endpoint] | None]
    ports: NotRequired[list[_Port] | None]


class _ServiceSpec(TypedDict):
    type: NotRequired[str | None]
    externalName: NotRequired[str | None]
    ports: NotRequired[list[_Port] | None]


class RawService(TypedDict):
    metadata: Meta
    spec: _ServiceSpec


_List = TypedDict("_List", {"resourceVersion": str, "continue": NotRequired[str | None]})


class _Slices(TypedDict):
    kind: str
    metadata: _List
    items: list[RawSlice]


class _Services(TypedDict):
    kind: str
    metadata: _List
    items: list[RawService]


_SLICES, _SERVICES = TypeAdapter(_Slices), TypeAdapter(_Services)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """`more`: the token to ask for the next page with; '' after the last."""

    items: tuple[T, ...]
    version: str
    more: str = ""


def slices(body: bytes) -> Page[Slice]:
    listed = checked(_SLICES, body)
    _expect(listed["kind"], "EndpointSliceList")
    items = tuple(endpoint_slice(raw) for raw in listed["items"])
    return Page(items, _version(listed["metadata"]), listed["metadata"].get("continue") or "")


def services(body: bytes) -> Page[Service]:
    listed = checked(_SERVICES, body)
    _expect(listed["kind"], "ServiceList")
    items = tuple(service(raw, f"items.{at}") for at, raw in enumerate(listed["items"]))
    return Page(items, _version(listed["metadata"]), listed["metadata"].get("continue") or "")


def endpoint_slice(raw: RawSlice) -> Slice:
    """A value that makes no sense is a flaw of this slice alone: whoever may write one must not take all names away."""
    try:
        return _endpoint_slice(raw)
    except Malformed as error:
        meta = raw["metadata"]
        service = (meta.get("labels") or {}).get(SERVICE_NAME, "")
        flaw = f"EndpointSlice {meta['namespace']}/{meta['name']}: {error}"
        return Slice(sys.intern(meta["namespace"]), meta["name"], service, _FAMILIES[0], flaw=flaw)


def _endpoint_slice(raw: RawSlice) -> Slice:
    """Raises Malformed."""
    meta = raw["metadata"]
    if raw["addressType"] not in _FAMILIES:
        raise Malformed(f"addressType: IPv4, IPv6 or FQDN expected, not {raw['addressType'][:50]!r}")
    is_name = raw["addressType"] == FQDN
    backends = [_backend(each, is_name, f"endpoints.{at}") for at, each in enumerate(raw.get("endpoints") or ())]
    return Slice(
        namespace=sys.intern(meta["namespace"]),
        name=meta["name"],
        service=(meta.get("labels") or {}).get(SERVICE_NAME, ""),
        family=sys.intern(raw["addressType"]),
        ports=_ports(raw.get("ports"), "ports"),
        backends=tuple(backends),
    )


def service(raw: RawService, where: str) -> Service:
    """Raises Malformed."""
    meta, spec = raw["metadata"], raw["spec"]
    external = ""
    if spec.get("type") == "ExternalName":
        external = spec.get("externalName") or ""
        if not external:
            raise Malformed(f"{where}.spec.externalName: a host name expected")
    ports = _ports(spec.get("ports"), f"{where}.spec.ports")
    return Service(sys.intern(meta["namespace"]), meta["name"], ports, external.removesuffix("."))


def _backend(raw: _Endpoint, is_name: bool, where: str) -> Backend:
    # An endpoint with several addresses is one endpoint: any of them will do.
    address = raw["addresses"][0] if raw["addresses"] else ""
    if not (address if is_name else _is_literal(address)):
        raise Malformed(f"{where}.addresses.0: an address expected, not {address[:50]!r}")
    target = raw.get("targetRef") or {}
    kind, name = target.get("kind") or "", target.get("name") or ""
    return Backend(
        address=address.removesuffix("."),
        health=_health(raw.get("conditions") or {}),
        zone=sys.intern(raw.get("zone") or ""),
        host=sys.intern(raw.get("nodeName") or ""),
        uid=target.get("uid") or "",
        origin=f"{kind.lower()} {target.get('namespace') or ''}/{name}" if name else "",
    )


def _health(conditions: _Conditions) -> Health:
    """What is not said: it is ready; it serves as far as it is ready; it does not terminate."""
    ready = conditions.get("ready")
    if ready is None or ready:
        return Health.HEALTHY
    is_leaving = conditions.get("serving") and conditions.get("terminating")
    return Health.DRAINING if is_leaving else Health.UNHEALTHY


def _ports(raw: list[_Port] | None, where: str) -> tuple[Port, ...]:
    """Those of TCP. One without a number is none that could be called."""
    found = []
    for at, each in enumerate(raw or ()):
        number = each.get("port")
        if number is None or (each.get("protocol") or "TCP") != "TCP":
            continue
        if not 0 < number < 65536:
            raise Malformed(f"{where}.{at}.port: a port expected, not {number}")
        protocol = _PROTOCOLS.get((each.get("appProtocol") or "").lower())
        found.append(Port(sys.intern(each.get("name") or ""), number, protocol))
    return tuple(found)


def _is_literal(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True


def _version(meta: _List) -> str:
    if not meta["resourceVersion"]:
        raise Malformed("metadata.resourceVersion: a version expected")
    return meta["resourceVersion"]


def _expect(found: str, kind: str) -> None:
    if found != kind:
        raise Malformed(f"kind: {kind} expected, not {found[:50]!r}")


def checked(adapter: TypeAdapter[T], body: bytes) -> T:
    """Raises Malformed."""
    try:
        return adapter.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Malformed(f"{place}: {first['msg']}" if place else first["msg"]) from None
