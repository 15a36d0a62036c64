"""What is lost serves names that have nothing else, for a while; any other way goes first."""

from __future__ import annotations

import asyncio

from discovery.address import Bound, Endpoint, Health, Neg, bound
from discovery.observing import Settings
from discovery.path import Path
from mesh.xds.resource import ENDPOINTS
from tests.binding import at, world
from tests.virtual_time import settle, virtual

USERS = Path(("users",))
SETTINGS = Settings(resync=0.0, confirm_after=2.0, last_resort=30.0)


@virtual
async def test_a_platform_that_says_twice_that_all_is_gone_takes_nothing_from_a_name_that_has_nothing_else() -> None:
    async with world(settings=SETTINGS) as it:
        it.one.truth[USERS] = at(80)
        it.ask("users")
        await settle()
        it.one.state(USERS, Neg())
        await asyncio.sleep(29)
        assert it.leads_to("users") == {"/#/one/users": 1}
        assert it.ports("/#/one/users") == {80}
        it.one.state(USERS, at(80, 81))
        await settle()
        assert it.ports("/#/one/users") == {80, 81}


@virtual
async def test_after_the_last_resort_the_loss_is_told() -> None:
    async with world(settings=SETTINGS) as it:
        it.one.truth[USERS] = at(80)
        it.ask("users")
        await settle()
        it.one.state(USERS, Bound())
        await asyncio.sleep(30.5)
        assert it.answers("users") == 503


@virtual
async def test_an_alternate_that_is_alive_goes_first_as_soon_as_the_loss_is_confirmed() -> None:
    async with world("/svc => /#/one | /#/two", settings=SETTINGS) as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(81)
        it.ask("users")
        await settle()
        it.one.state(USERS, Neg())
        await asyncio.sleep(1.9)
        assert it.leads_to("users") == {"/#/one/users": 1}
        await asyncio.sleep(0.2)
        assert it.leads_to("users") == {"/#/two/users": 1}
        it.one.state(USERS, at(80))
        await settle()
        assert it.leads_to("users") == {"/#/one/users": 1}


@virtual
async def test_an_alternate_without_endpoints_does_not_go_before_what_was_lost() -> None:
    async with world("/svc => /#/two | /#/one", settings=SETTINGS) as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80), Bound()
        it.ask("users")
        await settle()
        it.one.state(USERS, Neg())
        await asyncio.sleep(3)
        assert it.leads_to("users") == {"/#/one/users": 1}


@virtual
async def test_a_union_leaves_out_what_was_lost_while_another_branch_is_alive() -> None:
    async with world("/svc => /#/one & /#/two", settings=SETTINGS) as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(81)
        it.ask("users")
        await settle()
        it.one.state(USERS, Neg())
        await asyncio.sleep(3)
        assert it.leads_to("users") == {"/#/two/users": 1}
        it.two.state(USERS, Neg())
        await asyncio.sleep(3)
        assert it.leads_to("users") == {"/#/one/users": 1, "/#/two/users": 1}


@virtual
async def test_rule_6_endpoints_go_after_the_routes_have_turned_away() -> None:
    async with world("/svc => /#/one | /#/two", settings=SETTINGS) as it:
        draining = bound([Endpoint("127.0.0.1", 80, health=Health.DRAINING)])
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(81)
        it.ask("users")
        await settle()
        told = it.ads.store.get(ENDPOINTS, "/#/one/users")
        it.one.state(USERS, draining)
        await settle()
        assert it.leads_to("users") == {"/#/two/users": 1}
        assert it.ads.store.get(ENDPOINTS, "/#/one/users") == told
        it.one.state(USERS, at(82))
        await settle()
        assert it.leads_to("users") == {"/#/one/users": 1}
        assert it.ports("/#/one/users") == {82}


@virtual
async def test_rule_6_while_an_alternate_has_not_answered_the_last_way_stays_as_it_was() -> None:
    async with world("/svc => /#/one | /#/two", settings=SETTINGS) as it:
        draining = bound([Endpoint("127.0.0.1", 80, health=Health.DRAINING)])
        it.one.truth[USERS], it.two.silent = at(80), True
        it.ask("users")
        await settle()
        told = it.ads.store.get(ENDPOINTS, "/#/one/users")
        it.one.state(USERS, draining)
        await asyncio.sleep(1)
        assert it.ads.store.get(ENDPOINTS, "/#/one/users") == told
        it.two.silent = False
        it.two.state(USERS, at(81))
        await settle()
        assert it.leads_to("users") == {"/#/two/users": 1}


@virtual
async def test_a_union_turns_away_from_a_branch_that_has_no_endpoint_left_before_envoy_hears_of_that() -> None:
    async with world("/svc => /#/one & /#/two", settings=SETTINGS) as it:
        ill = bound([Endpoint("127.0.0.1", 80, health=Health.UNHEALTHY)])
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(81)
        it.ask("users")
        await settle()
        told = it.ads.store.get(ENDPOINTS, "/#/one/users")
        it.one.state(USERS, ill)
        await settle()
        assert it.leads_to("users") == {"/#/two/users": 1}
        assert it.ads.store.get(ENDPOINTS, "/#/one/users") == told
