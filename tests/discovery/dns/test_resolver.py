import os
from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import dns.asyncresolver
import dns.nameserver
import dns.rcode
import pytest

from discovery.dns.records import Srv
from discovery.dns.resolver import FOREVER_SECONDS, NOTHING_SECONDS, Family, Resolver, nameserver
from discovery.source import Unavailable
from tests.fakes.dns import FakeDns, fake_dns

NO_HOSTS = FilePath("/nonexistent/hosts")


@pytest.fixture
async def server() -> AsyncIterator[FakeDns]:
    async with fake_dns() as running:
        yield running


def resolver(server: FakeDns, family: Family = Family.V4_PREFERRED, longest_ttl: float = 300.0) -> Resolver:
    return Resolver(
        nameservers=[server.address], family=family, timeout=0.3, longest_ttl=longest_ttl, hosts_file=NO_HOSTS
    )


async def test_a_third_party_reads_the_fake(server: FakeDns) -> None:
    server.put("db.test.", "A", "10.0.0.1", ttl=7)
    client = dns.asyncresolver.Resolver(configure=False)
    client.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", server.port)]
    answer = await client.resolve("db.test.", "A")
    assert [rdata.to_text() for rdata in answer] == ["10.0.0.1"]
    assert answer.rrset is not None
    assert answer.rrset.ttl == 7
    with pytest.raises(dns.resolver.NXDOMAIN):
        await client.resolve("nobody.test.", "A")
    with pytest.raises(dns.resolver.NoNameservers, match="REFUSED"):
        await client.resolve("example.org.", "A")


async def test_addresses_come_sorted_with_the_seconds_they_are_good_for(server: FakeDns) -> None:
    server.put("db.test.", "A", "10.0.0.2", "10.0.0.1", ttl=50)
    addresses, seconds = await resolver(server).resolve("db.test")
    assert addresses == ("10.0.0.1", "10.0.0.2")
    assert 40 < seconds <= 50


@pytest.mark.parametrize("literal", ["10.1.2.3", "::1", "fe80::1"])
async def test_a_literal_is_its_own_address(server: FakeDns, literal: str) -> None:
    assert await resolver(server).resolve(literal) == ((literal,), FOREVER_SECONDS)
    assert not server.asked


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (Family.V4_PREFERRED, ("10.0.0.1",)),
        (Family.V4_ONLY, ("10.0.0.1",)),
        (Family.V6_ONLY, ("fd00::1",)),
        (Family.ALL, ("10.0.0.1", "fd00::1")),
    ],
)
async def test_a_host_of_both_families(server: FakeDns, family: Family, expected: tuple[str, ...]) -> None:
    server.put("db.test.", "A", "10.0.0.1")
    server.put("db.test.", "AAAA", "fd00::1")
    assert (await resolver(server, family).resolve("db.test"))[0] == expected


async def test_a_host_with_only_new_addresses_is_found_by_default(server: FakeDns) -> None:
    server.put("db.test.", "AAAA", "fd00::1")
    assert (await resolver(server).resolve("db.test"))[0] == ("fd00::1",)


async def test_an_answer_is_cached_until_its_ttl(server: FakeDns) -> None:
    server.put("db.test.", "A", "10.0.0.1")
    asking = resolver(server)
    await asking.resolve("db.test")
    server.put("db.test.", "A", "10.0.0.2")
    assert (await asking.resolve("db.test"))[0] == ("10.0.0.1",)
    assert server.asked["db.test.", "A"] == 1


async def test_no_answer_is_believed_for_longer_than_configured(server: FakeDns) -> None:
    server.put("db.test.", "A", "10.0.0.1", ttl=86_400)
    assert (await resolver(server, longest_ttl=5.0).resolve("db.test"))[1] <= 5.0


async def test_a_ttl_of_zero_is_asked_again_after_a_second_and_not_cached(server: FakeDns) -> None:
    server.put("db.test.", "A", "10.0.0.1", ttl=0)
    asking = resolver(server)
    assert (await asking.resolve("db.test"))[1] == 1.0
    await asking.resolve("db.test")
    assert server.asked["db.test.", "A"] == 2


async def test_nothing_is_a_fact_that_is_believed_as_long_as_the_zone_says(server: FakeDns) -> None:
    server.negative_ttl = 7
    assert await resolver(server).resolve("nobody.test") == ((), 7)
    server.negative_ttl = 3600
    assert await resolver(server).resolve("nobody.test") == ((), NOTHING_SECONDS)
    server.put("text.test.", "TXT", "here")
    assert (await resolver(server).resolve("text.test"))[0] == ()


async def test_what_appears_is_seen_although_it_was_not_there_before(server: FakeDns) -> None:
    asking = resolver(server)
    assert (await asking.resolve("db.test"))[0] == ()
    server.put("db.test.", "A", "10.0.0.1")
    assert (await asking.resolve("db.test"))[0] == ("10.0.0.1",)


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR])
async def test_a_failure_is_not_an_empty_answer(server: FakeDns, code: dns.rcode.Rcode) -> None:
    server.put("db.test.", "A", "10.0.0.1")
    server.fail("db.test.", code)
    with pytest.raises(Unavailable, match=r"DNS: db\.test A"):
        await resolver(server).resolve("db.test")


async def test_silence_is_not_an_empty_answer(server: FakeDns) -> None:
    server.go_dark()
    with pytest.raises(Unavailable, match=r"DNS: db\.test A: no answer within 0\.3 s from 127\.0\.0\.1:"):
        await resolver(server).resolve("db.test")


async def test_a_referral_is_not_an_empty_answer(server: FakeDns) -> None:
    server.refer("db.test.")
    with pytest.raises(Unavailable, match="only a part"):
        await resolver(server).resolve("db.test")


async def test_nobody_listening_is_told_with_the_servers_address(server: FakeDns) -> None:
    nobody = Resolver(nameservers=["127.0.0.1:1"], timeout=0.3, hosts_file=NO_HOSTS)
    with pytest.raises(Unavailable, match=r"from 127\.0\.0\.1:1"):
        await nobody.resolve("db.test")


async def test_an_alias_is_followed_and_the_shortest_ttl_counts(server: FakeDns) -> None:
    server.put("www.test.", "CNAME", "db.test.", ttl=4)
    server.put("db.test.", "A", "10.0.0.1", ttl=90)
    addresses, seconds = await resolver(server).resolve("www.test")
    assert addresses == ("10.0.0.1",)
    assert seconds <= 4


async def test_an_answer_too_long_for_udp_is_asked_for_again_over_tcp(server: FakeDns) -> None:
    many = [f"10.0.{i // 250}.{i % 250}" for i in range(400)]
    server.put("many.test.", "A", *many)
    assert len((await resolver(server).resolve("many.test"))[0]) == 400
    assert server.over_tcp == 1


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "\udcff", "." + "y" * 300])
async def test_what_no_name_looks_like_does_not_exist(server: FakeDns, name: str) -> None:
    assert (await resolver(server).resolve(name))[0] == ()
    assert not server.asked


async def test_the_hosts_file_comes_before_dns_and_localhost_needs_none(server: FakeDns, tmp_path: FilePath) -> None:
    (tmp_path / "hosts").write_text("10.9.9.9 db.test\nfd00::9 db.test\n")
    asking = Resolver(nameservers=[server.address], hosts_file=tmp_path / "hosts")
    assert (await asking.resolve("db.test"))[0] == ("10.9.9.9",)
    assert (await asking.resolve("localhost"))[0] == ("127.0.0.1",)
    assert (await asking.resolve("app.localhost"))[0] == ("127.0.0.1",)
    assert not server.asked


async def test_resolv_conf_is_read_again_when_it_changes(tmp_path: FilePath) -> None:
    file = tmp_path / "resolv.conf"
    asking = Resolver(resolv_conf=file, hosts_file=NO_HOSTS, timeout=0.3)
    with pytest.raises(Unavailable, match="resolv"):
        await asking.resolve("db.test")
    file.write_text("nameserver 127.0.0.1\nsearch one.test\n")
    assert asking._current().search == [dns.name.from_text("one.test.")]
    file.write_text("nameserver 127.0.0.1\nsearch two.test\n")
    os.utime(file, (1, 1))
    assert asking._current().search == [dns.name.from_text("two.test.")]


async def test_srv_records_are_read_whole(server: FakeDns) -> None:
    server.put("_http._tcp.test.", "SRV", "10 5 8080 A.test.", "20 0 9090 b.test.", ttl=9)
    found, seconds = await resolver(server).services("_http._tcp.test")
    assert set(found) == {Srv("a.test", 8080, 10, 5), Srv("b.test", 9090, 20, 0)}
    assert seconds <= 9


@pytest.mark.parametrize("text", ["", "dns.example", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:x"])
def test_the_address_of_a_name_server_is_checked(text: str) -> None:
    with pytest.raises(ValueError, match="the address of a name server"):
        nameserver(text)
