from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from discovery.address import Addr, Bound, Endpoint, Health, Neg, Protocol
from discovery.dns.resolver import Family
from discovery.kubernetes import endpoints
from discovery.kubernetes.records import Backend, Port, Service, Slice
from discovery.source import Unavailable

UP = Health.HEALTHY
A4 = Backend("10.0.0.1", UP, "eu-1a", "node-a", "uid-a", "pod shop/users-a")
A6 = replace(A4, address="fd00::1")
B4 = Backend("10.0.0.2", UP, "eu-1b", "node-b", "uid-b", "pod shop/users-b")
B6 = replace(B4, address="fd00::2")
HTTP = Port("http", 8080, Protocol.HTTP1)
SERVICE = Service("shop", "users", (Port("http", 80, Protocol.HTTP1), Port("admin", 81)))


def sliced(*backends: Backend, name: str = "users-1", family: str = "IPv4", ports: Sequence[Port] = (HTTP,)) -> Slice:
    return Slice("shop", name, "users", family, tuple(ports), backends)


def nothing(host: str) -> tuple[str, ...]:
    raise Unavailable(f"{host} is not known")


def addr(segment: str, service: Service | None, *slices: Slice, family: Family = Family.V4_PREFERRED) -> Addr:
    return endpoints.addr(segment, service, slices, family, nothing)


def addresses(found: Addr) -> list[str]:
    assert isinstance(found, Bound)
    return [endpoint.address for endpoint in found.endpoints]


def test_an_endpoint_has_all_that_is_known_of_it() -> None:
    assert addr("http", SERVICE, sliced(A4)) == Bound(
        (
            Endpoint(
                address="10.0.0.1",
                port=8080,
                zone="eu-1a",
                health=UP,
                host="node-a",
                protocol=Protocol.HTTP1,
                origin="pod shop/users-a",
            ),
        )
    )


def test_no_service_and_no_slice_is_no_name() -> None:
    assert addr("http", None) == Neg()


def test_a_service_without_slices_or_endpoints_exists() -> None:
    assert addr("http", SERVICE) == Bound(())
    assert addr("80", SERVICE) == Bound(())
    assert addr("http", SERVICE, sliced()) == Bound(())
    assert addr("http", None, sliced()) == Bound(())


@pytest.mark.parametrize("segment", ["grpc", "8080", "0", "99999", "-80", "٨٠"])
def test_a_port_that_the_service_does_not_have_is_no_name(segment: str) -> None:
    assert addr(segment, SERVICE, sliced(A4)) == Neg()


def test_a_number_is_the_services_and_leads_by_the_ports_name() -> None:
    found = addr("80", SERVICE, sliced(A4, ports=[HTTP, Port("admin", 80)]))
    assert isinstance(found, Bound)
    assert [endpoint.port for endpoint in found.endpoints] == [8080]


def test_a_number_leads_to_the_only_port_of_a_service_that_has_no_name_for_it() -> None:
    service = Service("shop", "users", (Port("", 80),))
    found = addr("80", service, sliced(A4, ports=[Port("", 3000)]))
    assert isinstance(found, Bound)
    assert [endpoint.key for endpoint in found.endpoints] == [("10.0.0.1", 3000)]


def test_without_a_service_a_number_is_that_of_the_slice() -> None:
    assert addresses(addr("8080", None, sliced(A4))) == ["10.0.0.1"]
    assert addr("80", None, sliced(A4)) == Neg()


def test_slices_are_merged_and_each_has_its_own_number_for_a_name() -> None:
    found = addr("http", SERVICE, sliced(A4), sliced(B4, name="users-2", ports=[Port("http", 9090)]))
    assert isinstance(found, Bound)
    assert [endpoint.key for endpoint in found.endpoints] == [("10.0.0.1", 8080), ("10.0.0.2", 9090)]


@pytest.mark.parametrize("worse", [Health.UNHEALTHY, Health.DRAINING])
def test_of_one_address_in_two_slices_the_ready_one_wins(worse: Health) -> None:
    old, new = replace(A4, health=worse), A4
    for pair in ((old, new), (new, old)):
        found = addr("http", SERVICE, sliced(pair[0]), sliced(pair[1], name="users-2"))
        assert isinstance(found, Bound)
        assert [endpoint.health for endpoint in found.endpoints] == [UP]


def test_the_protocol_is_that_of_the_service_where_the_slice_says_none() -> None:
    found = addr("http", SERVICE, sliced(A4, ports=[Port("http", 8080)]))
    assert isinstance(found, Bound)
    assert found.protocol is Protocol.HTTP1


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (Family.V4_PREFERRED, ["10.0.0.1", "fd00::2"]),
        (Family.V4_ONLY, ["10.0.0.1"]),
        (Family.V6_ONLY, ["fd00::1", "fd00::2"]),
        (Family.ALL, ["10.0.0.1", "fd00::1", "fd00::2"]),
    ],
)
def test_a_pod_of_two_families_is_one_endpoint(family: Family, expected: list[str]) -> None:
    slices = sliced(A4), sliced(A6, B6, name="users-2", family="IPv6")
    assert addresses(addr("http", SERVICE, *slices, family=family)) == expected


def test_two_that_are_no_pods_are_two() -> None:
    slices = sliced(Backend("10.0.0.9", UP)), sliced(Backend("fd00::9", UP), name="users-2", family="IPv6")
    assert addresses(addr("http", SERVICE, *slices)) == ["10.0.0.9", "fd00::9"]


def test_host_names_of_a_slice_are_resolved() -> None:
    one = sliced(Backend("db.example.com", UP, "eu-1a"), family="FQDN")
    assert endpoints.host_names(SERVICE, [one, sliced(A4)]) == {"db.example.com"}
    found = endpoints.addr("http", SERVICE, [one], Family.V4_PREFERRED, lambda host: ("10.9.0.1", "10.9.0.2"))
    assert addresses(found) == ["10.9.0.1", "10.9.0.2"]
    assert isinstance(found, Bound)
    assert {endpoint.origin for endpoint in found.endpoints} == {"db.example.com"}


def test_a_host_name_that_is_not_known_is_that_names_error() -> None:
    with pytest.raises(Unavailable, match=r"db\.example\.com"):
        addr("http", SERVICE, sliced(A4), sliced(Backend("db.example.com", UP), name="users-2", family="FQDN"))


@pytest.mark.parametrize(("segment", "port"), [("5432", 5432), ("pg", 6000), ("6000", 6000)])
def test_an_external_name_is_called_at_the_port_that_is_asked_for(segment: str, port: int) -> None:
    service = Service("shop", "db", (Port("pg", 6000, Protocol.TCP),), "db.example.com")
    assert endpoints.host_names(service, ()) == {"db.example.com"}
    found = endpoints.addr(segment, service, (), Family.V4_PREFERRED, lambda host: ("10.9.0.1",))
    assert isinstance(found, Bound)
    assert [endpoint.key for endpoint in found.endpoints] == [("10.9.0.1", port)]


def test_an_external_name_has_no_port_by_a_name_that_it_does_not_say() -> None:
    assert addr("http", Service("shop", "db", (), "db.example.com")) == Neg()


def test_ports_are_listed_by_name_else_by_number() -> None:
    assert endpoints.segments(SERVICE, ()) == ["admin", "http"]
    assert endpoints.segments(Service("shop", "users", (Port("", 80),)), ()) == ["80"]
    assert endpoints.segments(None, [sliced(A4), sliced(B4, name="users-2")]) == ["http"]
