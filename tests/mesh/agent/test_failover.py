"""Failover at run time: what stands by serves while the endpoints of the chosen branch can't, through a real Envoy."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from scripts.running import eventually
from tests.host import PATIENCE, Host, running
from tests.mesh.agent.test_policies import many
from tests.upstream import upstream

DTAB = """
/svc           => /#/files ;
/svc/users     => /#/files/near | /#/files/far ;
/svc/plain     => /#/files/near | /#/files/far ;
/svc/split     => 3 * /#/files/one & 1 * /#/files/near | /#/files/far ;
/svc/guarded   => /#/files/near | ! | /#/files/far ;
"""
EJECTION = {"base_time": "1s", "max_time": "1s", "interval": "100ms", "gateway_failures": 2, "local_failures": 2}
POLICIES = [
    {"match": "/svc", "ejection": EJECTION},
    *({"match": f"/svc/{name}", "failover": True} for name in ("users", "split", "guarded")),
    {"match": "/svc/guarded", "ejection": None},
]


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(DTAB, policies=POLICIES) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())


async def until_explained(host: Host, name: str, *bound: str) -> None:
    async def known() -> bool:
        said = (await host.json(f"/explain?name={name}"))["endpoints"]
        assert isinstance(said, dict)
        return all(said.get(each, {}).get("endpoints") for each in bound)

    await eventually(known, PATIENCE, f"{name} does not lead to {bound}")


async def test_what_stands_by_serves_while_no_endpoint_answers_and_no_longer(shared: Host) -> None:
    async with upstream("near") as near, upstream("nearer") as nearer, upstream("far") as far:
        shared.put("near", near.port, nearer.port)
        shared.put("far", far.port)
        await until_explained(shared, "users", "/#/files/near", "/#/files/far")
        at_first = await many(shared, "users", 20)
        assert {body for _, body in at_first} <= {"near", "nearer"}
        near.status = nearer.status = 503

        async def failed_over() -> bool:
            return (await shared.call("users")).body == "far"

        await eventually(failed_over, PATIENCE, "no failover")
        assert await many(shared, "users", 30, "POST") == Counter({(200, "far"): 30})
        # A name that has not asked for it gets the 503 of its own endpoints.
        assert (await shared.call("plain")).status == 503
        near.status = nearer.status = 200

        async def back() -> bool:
            return (await shared.call("users")).body in ("near", "nearer")

        await eventually(back, PATIENCE, "no way back")


async def test_no_request_is_lost_when_all_endpoints_refuse_connections(shared: Host) -> None:
    async with upstream("far") as far:
        async with upstream("near") as near:
            shared.put("near", near.port)
            shared.put("far", far.port)
            await until_explained(shared, "users", "/#/files/near", "/#/files/far")
            await shared.until("users", "near")
        answers = await many(shared, "users", 50, "POST")
        assert answers == Counter({(200, "far"): 50})


async def test_each_branch_of_a_union_fails_over(shared: Host) -> None:
    async with upstream("one") as one, upstream("near") as near, upstream("far") as far:
        for name, service in (("one", one), ("near", near), ("far", far)):
            shared.put(name, service.port)
        await until_explained(shared, "split", "/#/files/one", "/#/files/near", "/#/files/far")
        before = await many(shared, "split", 100)
        assert 60 <= before[200, "one"] <= 90
        assert before[200, "far"] == 0
        near.status = 503

        async def turned() -> bool:
            return (200, "far") in await many(shared, "split", 20)

        await eventually(turned, PATIENCE, "no failover")
        after = await many(shared, "split", 100)
        assert 60 <= after[200, "one"] <= 90


async def test_nothing_stands_by_behind_a_refusal(shared: Host) -> None:
    async with upstream("far") as far, upstream("near") as near:
        shared.put("near", near.port)
        shared.put("far", far.port)
        await shared.until("guarded", "near")
        near.status = 503
        assert {status for status, _ in await many(shared, "guarded", 20)} == {503}


async def test_explain_and_names_show_what_stands_by(shared: Host) -> None:
    async with upstream("far") as far, upstream("near") as near:
        shared.put("near", near.port)
        shared.put("far", far.port)
        await until_explained(shared, "users", "/#/files/near", "/#/files/far")
        await shared.until("users", "near")
        assert (await shared.names())["users"]["bound"] == "/#/files/near | /#/files/far"
        shared.remove("far")

        async def alone() -> bool:
            return (await shared.names())["users"]["bound"] == "/#/files/near"

        await eventually(alone, PATIENCE, "what is gone stands by")
        assert (await shared.call("users")).body == "near"
