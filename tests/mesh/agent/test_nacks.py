"""A refusal of Envoy's, told with the name and the dentry it came from."""

from __future__ import annotations

import logging

import pytest

from discovery.path import Path
from mesh.agent.nacks import KEPT, Nacks
from mesh.envoy.names import scope_resource
from mesh.policy.effective import Entry, Policies
from mesh.policy.settings import DEFAULTS
from mesh.xds.events import Nack
from mesh.xds.resource import CLUSTER, SCOPE
from tests.binding import at, world
from tests.virtual_time import settle, virtual


def _nack(type_url: str, *names: str) -> Nack:
    return Nack(type_url, names, tuple("v1" for _ in names), "no, because", names)


@virtual
async def test_rule_6_a_refused_scope_is_reported_with_the_dentry_that_caused_it() -> None:
    async with world("/svc => /#/one ;\n/svc/other => /#/two/x") as it:
        it.one.truth[Path(("users",))] = at(80)
        it.ask("users")
        await settle()
        nacks = Nacks(it.binder, it.ads)
        nacks.refused(_nack(SCOPE, scope_resource("http", "users")))
        (row,) = nacks.rows()
        assert row["message"] == "no, because"
        assert row["because"] == ["/svc/users by /svc => /#/one (line 1)"]
        assert nacks.count == 1


@virtual
async def test_rule_6_the_policies_that_hold_for_the_name_are_named_too() -> None:
    async with world("/svc => /#/one") as it:
        it.one.truth[Path(("users",))] = at(80)
        it.ask("users")
        await settle()
        entries = [Entry(match, DEFAULTS, "p.yaml") for match in ("/svc/users", "/svc/others", "/#/one")]
        nacks = Nacks(it.binder, it.ads, Policies(entries))
        nacks.refused(_nack(SCOPE, scope_resource("http", "users")))
        said = "/svc/users by /svc => /#/one (line 1) with the policies /svc/users (p.yaml), /#/one (p.yaml)"
        assert nacks.rows()[0]["because"] == [said]


@virtual
async def test_a_refused_cluster_is_reported_with_every_name_that_needs_it() -> None:
    async with world("/svc => /#/one ; /svc/also => /#/one/users") as it:
        it.one.truth[Path(("users",))] = at(80)
        for host in ("users", "also"):
            it.ask(host)
        await settle()
        nacks = Nacks(it.binder, it.ads)
        nacks.refused(_nack(CLUSTER, "/#/one/users"))
        because = nacks.rows()[0]["because"]
        assert isinstance(because, list)
        assert [each.split(" by ")[0] for each in because] == ["/svc/users", "/svc/also"]
        assert "/svc/also => /#/one/users" in because[1]


@virtual
async def test_a_refusal_of_what_no_name_needs_is_reported_too() -> None:
    async with world() as it:
        nacks = Nacks(it.binder, it.ads)
        nacks.refused(_nack(CLUSTER, "/#/one/gone"))
        assert nacks.rows()[0]["because"] == []


async def test_refusals_are_logged_and_the_last_ones_kept(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as it:
        nacks = Nacks(it.binder, it.ads)
        for number in range(3 * KEPT):
            nacks.refused(_nack(CLUSTER, f"/#/one/n{number}"))
    assert len(nacks.rows()) == KEPT
    assert nacks.count == 3 * KEPT
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
