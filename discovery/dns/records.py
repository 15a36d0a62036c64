"""SRV and address records -> `Addr`. Pure.

RFC 2782: of several priorities only the lowest is used, and only it is published. A target `.` alone says that the
service is decidedly not there, which is a known name without endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from discovery.address import Bound, Endpoint, bound

Addresses = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Srv:
    target: str
    port: int
    priority: int
    weight: int


@lru_cache(4096)
def is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def hosts(addresses: Iterable[str], port: int, host: str) -> Bound:
    return bound(Endpoint(address=address, port=port, host=host) for address in addresses)


def targets(records: Iterable[Srv]) -> tuple[str, ...]:
    """The host names that have to be resolved."""
    return tuple(sorted({record.target for record in records if record.target != "."}))


def services(records: Iterable[Srv], addresses: Mapping[str, Addresses]) -> Bound:
    """The group of the lowest priority that has an address at all. A target without addresses is left out."""
    groups: dict[int, list[Srv]] = {}
    for record in records:
        if addresses.get(record.target):
            groups.setdefault(record.priority, []).append(record)
    if not groups:
        return Bound()
    return bound(endpoint for record in groups[min(groups)] for endpoint in _endpoints(record, addresses))


def _endpoints(record: Srv, addresses: Mapping[str, Addresses]) -> Iterable[Endpoint]:
    # A weight of 0 asks for "a very small chance": 1 is the smallest one that a proxy knows.
    found = addresses[record.target]
    share = max(record.weight, 1) / len(found)
    return (Endpoint(address=address, port=record.port, weight=share, host=record.target) for address in found)
