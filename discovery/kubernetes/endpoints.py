"""The slices of a service, and the service -> what a name leads to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from discovery.address import Addr, Endpoint, Health, Neg, Protocol, bound
from discovery.dns.resolver import Family
from discovery.kubernetes.records import FQDN, Backend, Port, Service, Slice

Addresses = Callable[[str], tuple[str, ...]]
"""Of a host name; may raise what its caller knows."""

_WORST_FIRST = (Health.UNHEALTHY, Health.DRAINING, Health.HEALTHY)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The ports that a segment means: those of a name, or of a number where no Service says its name."""

    name: str | None
    number: int
    protocol: Protocol | None = None

    def of(self, ports: Iterable[Port]) -> Iterator[Port]:
        for port in ports:
            if port.name == self.name if self.name is not None else port.number == self.number:
                yield port


def addr(
    segment: str, service: Service | None, slices: Collection[Slice], family: Family, addresses: Addresses
) -> Addr:
    """`segment`: the name of a port, or its number. Raises what `addresses` raises."""
    if service is not None and service.external_name:
        return _external(segment, service, addresses)
    wanted = _wanted(segment, service, slices)
    if wanted is None:
        return Neg()
    found = [each for one in _in_order(slices) for each in _endpoints(one, wanted, addresses)]
    chosen = (endpoint for each, endpoint in found) if family is Family.ALL else _one_family(found, family)
    # Of two at one address the last one stays.
    return bound(sorted(chosen, key=lambda endpoint: _WORST_FIRST.index(endpoint.health)))


def host_names(service: Service | None, slices: Iterable[Slice]) -> set[str]:
    """What has to be resolved before `addr` is asked."""
    if service is not None and service.external_name:
        return {service.external_name}
    return {backend.address for each in slices if each.family == FQDN for backend in each.backends}


def segments(service: Service | None, slices: Iterable[Slice]) -> list[str]:
    """The ports there are, each by its name, else by its number."""
    ports = service.ports if service is not None else [port for each in slices for port in each.ports]
    return sorted({port.name or str(port.number) for port in ports})


def _external(segment: str, service: Service, addresses: Addresses) -> Addr:
    named = next((port for port in service.ports if segment in (port.name, str(port.number))), None)
    number = named.number if named is not None else _number(segment)
    if number is None:
        return Neg()
    protocol = named.protocol if named is not None else None
    host = service.external_name
    return bound(
        Endpoint(address, number, host=host, protocol=protocol, origin=f"host {host}") for address in addresses(host)
    )


def _wanted(segment: str, service: Service | None, slices: Iterable[Slice]) -> Wanted | None:
    """None: it has no such port."""
    number = _number(segment)
    if service is not None:
        for port in service.ports:
            if port.name == segment if number is None else port.number == number:
                return Wanted(port.name, port.number, port.protocol)
        return None
    wanted = Wanted(segment, 0) if number is None else Wanted(None, number)
    return wanted if any(True for each in slices for _ in wanted.of(each.ports)) else None


def _number(segment: str) -> int | None:
    """A name has at least one letter."""
    number = int(segment) if segment.isascii() and segment.isdecimal() else 0
    return number if 0 < number < 65536 else None


def _in_order(slices: Iterable[Slice]) -> list[Slice]:
    return sorted(slices, key=lambda each: each.name)


def _endpoints(one: Slice, wanted: Wanted, addresses: Addresses) -> Iterator[tuple[Backend, Endpoint]]:
    for port in wanted.of(one.ports):
        for backend in one.backends:
            for address in addresses(backend.address) if one.family == FQDN else (backend.address,):
                yield (
                    backend,
                    Endpoint(
                        address=address,
                        port=port.number,
                        zone=backend.zone,
                        health=backend.health,
                        host=backend.host,
                        protocol=port.protocol or wanted.protocol,
                        origin=backend.origin or backend.address,
                    ),
                )


def _one_family(found: list[tuple[Backend, Endpoint]], family: Family) -> Iterator[Endpoint]:
    """A pod with an address in each of two slices is one endpoint."""
    if family is not Family.V4_PREFERRED:
        wanted_is_v6 = family is Family.V6_ONLY
        yield from (endpoint for _, endpoint in found if _is_v6(endpoint) is wanted_is_v6)
        return
    has_v4 = {backend.uid for backend, endpoint in found if backend.uid and not _is_v6(endpoint)}
    yield from (endpoint for backend, endpoint in found if not _is_v6(endpoint) or backend.uid not in has_v4)


def _is_v6(endpoint: Endpoint) -> bool:
    return ":" in endpoint.address
