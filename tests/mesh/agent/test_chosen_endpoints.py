"""Which endpoints of a name get its requests: those of the own zone first, those of a subset. With a real Consul."""

from __future__ import annotations

from collections import Counter

import pytest

from scripts.consul import agent, find
from scripts.running import eventually
from tests.catalogue import Catalogue, sources
from tests.host import PATIENCE, Host, host
from tests.mesh.agent.test_policies import many, until_known
from tests.upstream import upstream

needs_consul = pytest.mark.skipif(find() is None, reason="no consul here: `python -m scripts.consul --fetch` says why")
EJECTION = {"base_time": "1s", "max_time": "1s", "interval": "100ms", "gateway_failures": 1, "max_share": 100}
POLICIES = [
    {"match": "/svc", "ejection": EJECTION, "retries": {"conditions": ["gateway-error"]}},
    {"match": "/svc/near", "balancing": {"prefer_zone": True}},
    {"match": "/svc/v2", "balancing": {"subset": {"version": "v2"}}},
    {"match": "/svc/v3", "balancing": {"subset": {"version": "v3"}}, "failover": True},
]
DTAB = """
/svc    => /#/consul/dc1 ;
/svc/*  => /#/consul/dc1/users ;
/svc/v3 => /#/consul/dc1/users | /#/consul/dc1/other ;
"""


async def until(started: Host, name: str, *bodies: str) -> None:
    """Until exactly these answer."""

    async def only() -> bool:
        answers = await many(started, name, 20)
        return {body for _, body in answers} == set(bodies)

    await eventually(only, PATIENCE, f"{name} is not answered by {bodies}")


@needs_consul
async def test_endpoints_are_chosen_by_what_their_source_tells_of_them() -> None:
    async with (
        agent() as consul,
        host(DTAB, sources=sources(consul.url), policies=POLICIES, zone="a") as started,
        upstream("here") as here,
        upstream("there") as there,
        upstream("other") as other,
    ):
        catalogue = Catalogue(consul)
        await catalogue.register("users", here.port, Meta={"zone": "a", "version": "v1"})
        await catalogue.register("users", there.port, Meta={"zone": "b", "version": "v2"})
        await catalogue.register("other", other.port, Meta={"version": "v3"})
        for name in ("near", "v2", "all"):
            await until_known(started, name, 2)

        await until(started, "near", "here")
        await until(started, "all", "here", "there")
        await until(started, "v2", "there")
        await until(started, "v3", "other")

        explained = (await started.json("/explain?name=v2"))["endpoints"]
        assert isinstance(explained, dict)
        rows = explained["/#/consul/dc1/users"]["endpoints"]
        assert Counter((each["port"], each["in_subset"]) for each in rows) == Counter(
            [(here.port, False), (there.port, True)]
        )

        # The own zone can't serve any more: the others do, and no longer than needed.
        here.status = 503
        await until(started, "near", "there")
        here.status = 200
        await until(started, "near", "here")

        # A new version is registered: it is found without anybody asking.
        await catalogue.register("users", other.port, Meta={"zone": "b", "version": "v2"})
        await until(started, "v2", "there", "other")
        await started.no_nacks()
