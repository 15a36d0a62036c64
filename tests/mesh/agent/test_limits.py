"""What callers can make a host do: names nobody has, names nobody could have, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

import pytest

from demo.calls import load
from scripts.running import eventually, service
from tests.binding import spellings
from tests.flood import flood, hosts
from tests.host import PATIENCE, Host, running

NEGATIVE_LIMIT = 500
MOST_SPELLINGS = 32
"""Of one name at once, however fast they come; there are 128."""
MEMORY_BYTES = 60_000_000
"""What 10,000 names that do not exist may leave behind in the brain."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(names={"negative": "500ms", "negative_limit": NEGATIVE_LIMIT, "linger": "1s"}) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


async def _status(host: Host, section: str) -> dict[str, int]:
    return cast("dict[str, int]", (await host.json("/status"))[section])


async def test_ten_thousand_random_hosts_cost_no_known_name_a_request_and_little_memory(shared: Host) -> None:
    async with service("known") as port:
        shared.put("known", port)
        await shared.until("known", "known")
        await flood(shared.agent.port, hosts(500, seed=1))
        before = (await _status(shared, "brain"))["rss_bytes"]
        async with load(shared.agent.url, "known", callers=2) as seen:
            statuses = await flood(shared.agent.port, hosts(10_000))
        assert not seen.failed
        assert seen.answers["known"] > 100
        assert sum(statuses.values()) == 10_000
        assert set(statuses) <= {0, 400, 404, 431}, statuses
        assert statuses[404] > 5000
        assert (await _status(shared, "names"))["refused"] <= NEGATIVE_LIMIT
        assert (await _status(shared, "brain"))["rss_bytes"] - before < MEMORY_BYTES


async def test_names_that_do_not_exist_are_forgotten_again(shared: Host) -> None:
    await flood(shared.agent.port, (f"nobody{number}".encode() for number in range(200)))
    assert (await _status(shared, "names"))["refused"] > 0

    async def forgotten() -> bool:
        return (await _status(shared, "names"))["refused"] == 0

    await eventually(forgotten, PATIENCE, "missing names are remembered for ever")

    async def unobserved() -> bool:
        rows = cast("list[dict[str, int]]", (await shared.json("/status"))["sources"])
        return rows[0]["observations"] <= len(await shared.names())

    await eventually(unobserved, PATIENCE, "missing names are observed for ever")


async def test_spellings_of_a_known_name_neither_fail_nor_take_its_place(shared: Host) -> None:
    async with service("spelled") as port:
        shared.put("spelled", port)
        await shared.until("spelled", "spelled")
        variants = [spelling.encode() for spelling in spellings("spelled")] * 8
        async with load(shared.agent.url, "spelled", callers=2) as seen:
            statuses = await flood(shared.agent.port, variants)
        assert not seen.failed
        assert set(statuses) == {200}, statuses
        kept = [key for key in await shared.names() if key.lower() == "spelled"]
        assert len(kept) <= MOST_SPELLINGS
        assert "spelled" in kept


@pytest.mark.parametrize("length", [63, 64, 253, 255, 256, 1000, 8000, 50_000])
async def test_a_host_of_any_length_is_answered_with_an_explanation(shared: Host, length: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.agent.port, limit=1 << 20)
    writer.write(b"GET / HTTP/1.1\r\nhost: " + b"h" * length + b"\r\nconnection: close\r\n\r\n")
    head = (await reader.read()).decode()
    writer.close()
    assert head.split()[1] in ("400", "404"), head[:300]
    assert "l5d-err: " in head


async def test_no_more_names_are_bound_than_configured_and_those_bound_go_on() -> None:
    limits: dict[str, object] = {"limit": 20, "negative_limit": 5}
    with running(names=limits) as host:
        await host.agent.until_ready()
        async with service("one of many") as port:
            for number in range(40):
                host.put(f"n{number}", port)
            statuses = [(await host.call(f"n{number}")).status for number in range(40)]
            assert statuses[:20] == [200] * 20
            assert (await _status(host, "names"))["in_use"] <= 20
            refused = await host.call("n39")
            assert refused.status == 503
            assert "too many names" in refused.err
            assert [(await host.call(f"n{number}")).status for number in range(20)] == [200] * 20
        await host.no_nacks()
