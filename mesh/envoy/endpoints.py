"""A bound name's endpoints as Envoy reads them. What Envoy would refuse is left out and said: see `invalid`.

Envoy applies what comes before a bad assignment in a response and drops what comes after, so nothing bad may be served.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import Locality, Metadata
from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint as EnvoyEndpoint
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import UInt32Value

from discovery.address import Endpoint, Health
from discovery.path import Path
from mesh.envoy.names import cluster_name
from mesh.envoy.packing import text

METADATA = "tieline"
# The weights of one priority must sum to less than 2^32.
_MAX_WEIGHT_SUM = 2**32 - 1
_SCALED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class InvalidEndpoint:
    """Not served. `reason` names the field and what would do."""

    endpoint: Endpoint
    reason: str


def invalid(endpoints: Iterable[Endpoint]) -> tuple[InvalidEndpoint, ...]:
    found = ((endpoint, defect(endpoint)) for endpoint in endpoints)
    return tuple(InvalidEndpoint(endpoint, reason) for endpoint, reason in found if reason is not None)


@lru_cache(maxsize=4096)
def defect(endpoint: Endpoint) -> str | None:
    try:
        address = ipaddress.ip_address(endpoint.address)
    except ValueError:
        return f"address {endpoint.address!r} is not an IP literal"
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return f"address {endpoint.address!r} has a zone index, which Envoy does not resolve here"
    if not 0 < endpoint.port < 65536:
        return f"port {endpoint.port} is not in 1..65535"
    if not (math.isfinite(endpoint.weight) and endpoint.weight >= 0):
        return f"weight {endpoint.weight} is not a number of at least 0"
    return None


def assignment(
    id: Path, endpoints: Iterable[Endpoint], name: str | None = None, zone: str = ""
) -> ClusterLoadAssignment:
    """The same bytes for the same endpoints in any order. Invalid ones and those of weight 0 are left out.

    `zone`: its endpoints come first; Envoy sends to the others what these can't take.
    """
    zones: dict[str, list[LbEndpoint]] = {}
    for endpoint, built in served(endpoints):
        zones.setdefault(endpoint.zone, []).append(built)
    localities = [
        LocalityLbEndpoints(
            locality=Locality(zone=text(each)), lb_endpoints=zones[each], priority=int(zone in zones and each != zone)
        )
        for each in sorted(zones)
    ]
    return ClusterLoadAssignment(cluster_name=name or cluster_name(id), endpoints=localities)


def served(endpoints: Iterable[Endpoint]) -> list[tuple[Endpoint, LbEndpoint]]:
    """In one order, whatever theirs is. Invalid ones and those of weight 0 are left out."""
    unique = {endpoint.key: endpoint for endpoint in endpoints if endpoint.weight != 0 and defect(endpoint) is None}
    found = [unique[key] for key in sorted(unique)]
    weights = integer_weights([endpoint.weight for endpoint in found])
    return [(endpoint, _lb_endpoint(endpoint, weight)) for endpoint, weight in zip(found, weights, strict=True)]


def integer_weights(weights: list[float]) -> list[int]:
    """As they are when all are whole, else in proportion with the largest at 10,000; never 0."""
    if all(weight.is_integer() for weight in map(float, weights)) and sum(weights) <= _MAX_WEIGHT_SUM:
        return [int(weight) for weight in weights]
    largest = max(weights)
    scaled_max = min(_SCALED_MAX, _MAX_WEIGHT_SUM // len(weights))
    return [max(1, round(weight / largest * scaled_max)) for weight in weights]


_HEALTH = {
    Health.UNKNOWN: HealthStatus.UNKNOWN,
    Health.HEALTHY: HealthStatus.HEALTHY,
    Health.UNHEALTHY: HealthStatus.UNHEALTHY,
    Health.DRAINING: HealthStatus.DRAINING,
}


# One endpoint of ten changes, the other nine are copied: building one costs ten times as much.
@lru_cache(maxsize=4096)
def _lb_endpoint(endpoint: Endpoint, weight: int) -> LbEndpoint:
    socket = SocketAddress(address=str(ipaddress.ip_address(endpoint.address)), port_value=endpoint.port)
    built = LbEndpoint(
        endpoint=EnvoyEndpoint(address=Address(socket_address=socket)),
        health_status=_HEALTH[endpoint.health],
        load_balancing_weight=UInt32Value(value=weight),
    )
    if described := _described(endpoint):
        built.metadata.CopyFrom(Metadata(filter_metadata={METADATA: described}))
    return built


def _described(endpoint: Endpoint) -> Struct | None:
    values = dict(endpoint.metadata)
    if endpoint.host:
        values["host"] = endpoint.host
    if endpoint.identity:
        values["identity"] = endpoint.identity
    if not values:
        return None
    struct = Struct()
    for key in sorted(values):
        struct.fields[text(key)].string_value = text(values[key])
    return struct
