"""Scenario 5 with a real Consul and a real dockerd: a container that registers itself in Consul is one instance."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from demo.calls import load
from scripts import consul, docker
from scripts.running import eventually
from tests.catalogue import Catalogue
from tests.host import PATIENCE, Host, host

IDS = ("/#/consul/dc1/users", "/#/docker/shop/users")
ENOUGH = 400
pytestmark = pytest.mark.skipif(
    consul.find() is None or docker.find() is None, reason="a Consul and a dockerd are needed: `make test` fetches them"
)


async def run(daemon: docker.Daemon, answer: str) -> str:
    """A container that gives this answer; returns its address."""
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "users", "tieline.port": "80"}
    said = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    serve = f"echo {answer} > /www/index.html; exec httpd -f -p 80 -h /www"
    await daemon.cli("run", "-d", "--name", answer, *said, docker.TINY, "sh", "-c", serve)
    return await daemon.address(answer)


async def counted_in(started: Host) -> dict[tuple[str, str], str | None]:
    """By bound name and address."""
    explained: Any = (await started.json("/explain?name=users"))["endpoints"]
    return {(id, each["address"]): each["counted_in"] for id, known in explained.items() for each in known["endpoints"]}


async def test_a_container_that_is_registered_in_consul_too_is_counted_once() -> None:
    async with consul.agent() as known, docker.daemon(reachable=True) as daemon:
        both, alone = await run(daemon, "both"), await run(daemon, "alone")
        await Catalogue(known).register("users", 80, Address=both)
        sources = [
            {"kind": "consul", "address": known.url, "timeout": "1s"},
            {"kind": "docker", "address": daemon.url, "reach": "container", "timeout": "1s"},
        ]
        expected = {(IDS[0], both): None, (IDS[1], both): IDS[0], (IDS[1], alone): None}
        async with host(f"/svc/users => {IDS[0]} & {IDS[1]}", sources=sources) as started:

            async def so() -> bool:
                return await counted_in(started) == expected

            await eventually(so, PATIENCE, f"not counted so: {expected}\n{started.agent.tail()}")
            async with load(started.agent.url, "users") as seen:
                assert await seen.until_answered_by("alone", PATIENCE), started.agent.tail()
                before = Counter(seen.answers)
                await eventually(lambda: (seen.answers - before).total() >= ENOUGH, PATIENCE, "the load stopped")
                shares = {
                    who: count / (seen.answers - before).total() for who, count in (seen.answers - before).items()
                }
            assert (await started.names())["users"]["endpoints"] == 2
            print(f"{shares}; {seen.answers.total()} requests, {seen.failed.total()} failed")
            # It would be a quarter if the other one were counted in both branches.
            assert 0.4 < shares["alone"] < 0.6
            assert not seen.failed
            await started.no_nacks()
