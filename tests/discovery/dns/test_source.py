from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.rcode
import pytest

from discovery.dns.resolver import Resolver
from discovery.dns.source import DnsSource
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable
from tests.discovery.contract import ONE, TWO, Key, SourceContract, World, watching
from tests.fakes.dns import FakeDns, fake_dns


class DnsWorld(World):
    """Every TTL is 0, and the shortest that is believed is short."""

    def __init__(self, server: FakeDns) -> None:
        self.server = server
        server.negative_ttl = 0
        self.source = DnsSource(Resolver(nameservers=[server.address], timeout=0.3, shortest_ttl=0.02), "auto", None)
        self._names: set[str] = set()

    def name(self, label: str) -> Path:
        return Path((f"_{label}._tcp.test",))

    async def put(self, name: Path, *endpoints: Key) -> None:
        self._names.add(f"{name[0]}.")
        for address, _ in endpoints:
            self.server.put(f"{address.replace('.', '-')}.test.", "A", address, ttl=0)
        values = [f"0 1 {port} {address.replace('.', '-')}.test." for address, port in endpoints]
        self.server.put(f"{name[0]}.", "SRV", *values, ttl=0)

    async def remove(self, name: Path) -> None:
        self.server.remove(f"{name[0]}.")

    async def empty(self, name: Path) -> None:
        self.server.put(f"{name[0]}.", "SRV", "0 0 0 .", ttl=0)

    async def go_dark(self) -> None:
        self.server.go_dark()

    async def come_back(self) -> None:
        self.server.come_back()

    async def garble(self, name: Path) -> None:
        self.server.fail(f"{name[0]}.", dns.rcode.SERVFAIL)


class TestDnsContract(SourceContract):
    lacks = frozenset({"misconfigure", "halve", "stall", "lose", "origin"})

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with fake_dns() as server:
            yield DnsWorld(server)


@pytest.fixture
async def server() -> AsyncIterator[FakeDns]:
    async with fake_dns() as running:
        yield running


def source(server: FakeDns, record: str = "auto", port: int | None = None) -> DnsSource:
    return DnsSource(Resolver(nameservers=[server.address], timeout=0.3), record, port)


async def test_a_target_that_cannot_be_resolved_is_an_error_and_not_a_smaller_set(server: FakeDns) -> None:
    server.put("_web._tcp.test.", "SRV", "0 1 80 a.test.", "0 1 80 b.test.")
    server.put("a.test.", "A", "10.0.0.1")
    server.fail("b.test.", dns.rcode.SERVFAIL)
    async with watching(source(server), Path(("_web._tcp.test",))) as watch:
        assert isinstance(await watch.ends(), Unavailable)
        assert watch.published == []


async def test_a_target_that_does_not_exist_is_left_out(server: FakeDns) -> None:
    server.put("_web._tcp.test.", "SRV", "0 1 80 a.test.", "0 1 80 b.test.")
    server.put("a.test.", "A", "10.0.0.1")
    async with watching(source(server), Path(("_web._tcp.test",))) as watch:
        await watch.sees(("10.0.0.1", 80))


async def test_addresses_take_the_port_of_the_configuration(server: FakeDns) -> None:
    server.put("web.test.", "A", ONE[0], TWO[0])
    async with watching(source(server, port=8080), Path(("web.test",))) as watch:
        await watch.sees(ONE, TWO)


async def test_addresses_without_a_port_are_misconfigured(server: FakeDns) -> None:
    async with watching(source(server), Path(("web.test",))) as watch:
        error = await watch.ends()
        assert isinstance(error, Misconfigured)
        assert "set `port`" in str(error)


async def test_srv_is_asked_for_where_it_is_configured(server: FakeDns) -> None:
    server.put("web.test.", "SRV", "0 1 8080 10-0-0-1.test.")
    server.put("10-0-0-1.test.", "A", ONE[0])
    async with watching(source(server, record="srv"), Path(("web.test",))) as watch:
        await watch.sees(ONE)
