import pytest

from discovery.dns.inet import InetSource, RinetSource
from discovery.path import Path
from discovery.source import Unavailable
from tests.discovery.contract import watching


async def unasked(host: str) -> tuple[tuple[str, ...], float]:
    raise AssertionError(f"nobody should ask for {host}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (Path(("10.0.0.1", "80")), ("10.0.0.1", 80)),
        (Path(("8080",)), ("127.0.0.1", 8080)),
        (Path(("fd00::1", "443")), ("fd00::1", 443)),
    ],
)
async def test_literals_are_answered_without_dns(name: Path, expected: tuple[str, int]) -> None:
    async with watching(InetSource(unasked), name) as watch:
        await watch.sees(expected)


async def test_rinet_has_the_port_first() -> None:
    async with watching(RinetSource(unasked), Path(("80", "10.0.0.1"))) as watch:
        await watch.sees(("10.0.0.1", 80))


@pytest.mark.parametrize(
    "name",
    [Path(("h", "http")), Path(("h", "0")), Path(("h", "65536")), Path(("h", "١")), Path(("a/b", "80")), Path(("x",))],
)
async def test_what_is_no_host_or_no_port_does_not_exist(name: Path) -> None:
    async with watching(InetSource(unasked), name) as watch:
        await watch.sees_none()


async def test_a_host_is_resolved_again_when_its_ttl_has_passed() -> None:
    answers = iter([(("10.0.0.1",), 0.01), (("10.0.0.2",), 0.01), ((), 60.0)])

    async def resolve(host: str) -> tuple[tuple[str, ...], float]:
        return next(answers)

    async with watching(InetSource(resolve), Path(("db.example", "80"))) as watch:
        await watch.sees_none()
        assert [getattr(addr, "endpoints", ()) for addr in watch.published[:2]] != [(), ()]
        assert len(watch.published) == 3


async def test_a_failure_of_dns_is_an_error() -> None:
    async def resolve(host: str) -> tuple[tuple[str, ...], float]:
        raise Unavailable("DNS: db.example A: SERVFAIL")

    async with watching(InetSource(resolve), Path(("db.example", "80"))) as watch:
        assert "SERVFAIL" in str(await watch.ends())
