"""The binder with a real observatory and a real store; the platforms are in memory and time is virtual."""

from __future__ import annotations

import asyncio
import random

import dns.rcode
import pytest

from discovery.address import Bound, Endpoint, Health, Known, Neg, Pending, bound
from discovery.dns.inet import INET, InetSource
from discovery.dns.resolver import Resolver
from discovery.observatory import SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Unavailable
from mesh.agent.binder import ALIASES, Limits
from mesh.naming.bind import bind
from mesh.naming.trace import Grade
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE
from mesh.xds.session import Session
from scripts.running import eventually
from tests.binding import LINGER, World, at, spellings, world
from tests.fakes.dns import FakeDns, fake_dns
from tests.fakes.xds_client import Client
from tests.virtual_time import settle, virtual

USERS = Path(("users",))
BIND_TIMEOUT = Settings().bind_timeout


@virtual
async def test_rule_4_an_observation_that_changes_re_binds_only_the_names_that_wanted_it() -> None:
    async with world() as it:
        for number in range(1000):
            it.one.truth[Path((f"n{number}",))] = at(80)
            it.ask(f"n{number}")
        it.ask("N7")
        await settle()
        before = it.binder.binds
        it.one.state(Path(("n7",)), Bound())
        await settle()
        assert it.binder.binds - before == 2
        assert it.answers("n7") == it.answers("N7") == 503
        assert it.answers("n8") == 0


@pytest.mark.parametrize("known_before", [False, True])
@virtual
async def test_rule_4_a_change_of_endpoints_re_binds_nothing_and_is_still_told(known_before: bool) -> None:
    async with world() as it:
        it.one.truth[USERS] = at(80)
        if known_before:
            it.observatory.want(Path(("#", "one", "users")))
            await settle()
        it.ask("users")
        await settle()
        before, scope = it.binder.binds, it.scope("users")
        it.one.state(USERS, at(80, 81))
        await settle()
        assert it.binder.binds == before
        assert it.ports("/#/one/users") == {80, 81}
        assert it.scope("users") == scope


@virtual
async def test_rule_4_a_cyclic_table_ends_in_a_clear_refusal_and_stays_bounded() -> None:
    async with world("/svc => /pool ; /pool => /svc | /svc") as it:
        name = it.ask("users")
        assert name.binding is not None
        assert name.binding.grade is Grade.BROKEN
        refusal = it.binder.refusal(name)
        assert refusal.status == 503
        assert "can't bind /svc/users" in refusal.err
        assert it.binder.binds == 1
        assert it.scope("users") is None


@virtual
async def test_rule_6_a_name_that_moves_gets_its_new_cluster_before_its_route_and_loses_the_old_one_last() -> None:
    async with world("/svc => /#/one | /#/two") as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(90)
        it.ask("users")
        await settle()
        client = Client(Session(it.ads.store))
        for type_url in (CLUSTER, LISTENER, SCOPE):
            client.subscribe(type_url)
        client.settle()
        it.one.state(USERS, Neg())
        await settle()
        first = [each.partition("(")[0] for each in client.read()]
        assert "Cluster" in first
        assert "ScopedRouteConfiguration" not in first
        client.settle()
        assert {"/#/one/users", "/#/two/users"} <= client.has[CLUSTER].keys()
        await asyncio.sleep(LINGER)
        it.publisher.sweep()
        client.settle()
        assert list(client.has[CLUSTER]) == ["/#/two/users"]


@virtual
async def test_a_name_that_is_gone_is_refused_and_one_that_returns_is_served() -> None:
    async with world() as it:
        it.one.truth[USERS] = at(80)
        name = it.ask("users")
        await settle()
        assert it.leads_to("users") == {"/#/one/users": 1}
        it.one.state(USERS, Neg())
        await settle()
        assert it.scope("users") is None
        assert it.binder.refusal(name).status == 404
        it.one.state(USERS, at(81))
        await settle()
        assert it.leads_to("users") == {"/#/one/users": 1}
        assert it.ports("/#/one/users") == {81}


@virtual
async def test_a_name_without_endpoints_is_answered_by_envoy_itself_until_it_has_some() -> None:
    async with world() as it:
        it.one.truth[USERS] = bound([Endpoint("127.0.0.1", 80, health=Health.UNHEALTHY)])
        it.ask("users")
        await settle()
        assert it.answers("users") == 503
        assert it.leads_to("users") == {}
        it.one.state(USERS, at(80))
        await settle()
        assert it.answers("users") == 0
        assert it.leads_to("users") == {"/#/one/users": 1}
        it.one.state(USERS, Bound())
        await settle()
        assert it.answers("users") == 503


@virtual
async def test_a_cluster_is_shared_by_its_names_and_goes_a_while_after_the_last_of_them() -> None:
    async with world("/svc => /#/one ; /svc/also => /#/one/users") as it:
        it.one.truth[USERS] = at(80)
        users, also = it.ask("users"), it.ask("also")
        await settle()
        assert it.clusters() == {"/#/one/users"}
        it.binder.drop(users)
        await asyncio.sleep(2 * LINGER)
        it.publisher.sweep()
        assert it.clusters() == {"/#/one/users"}
        it.binder.drop(also)
        await asyncio.sleep(LINGER / 2)
        it.publisher.sweep()
        assert it.clusters() == {"/#/one/users"}
        await asyncio.sleep(LINGER)
        it.publisher.sweep()
        assert it.clusters() == set()
        assert it.observed() == set()
        assert it.one.open == 0


@virtual
async def test_a_lingering_cluster_that_is_used_again_has_the_present_endpoints() -> None:
    """Its observation ends with the linger time, the cluster at the next sweep: between the two the truth moved."""
    async with world() as it:
        it.one.truth[USERS] = at(80)
        name = it.ask("users")
        await settle()
        it.binder.drop(name)
        await asyncio.sleep(LINGER + 1)
        assert it.observed() == set()
        it.one.truth[USERS] = at(81)
        it.ask("users")
        await settle()
        it.publisher.sweep()
        assert it.leads_to("users") == {"/#/one/users": 1}
        assert it.ports("/#/one/users") == {81}


@virtual
async def test_a_slow_first_choice_costs_one_bind_timeout_however_many_alternates_are_slow() -> None:
    async with world("/svc => /#/one | /#/two | /#/one/last") as it:
        it.one.silent = it.two.silent = True
        name = it.ask("users")
        await settle()
        assert it.observed() == {"/#/one/users"}
        await asyncio.sleep(BIND_TIMEOUT / 8)
        it.binder.hurry(name)
        assert it.observed() == {"/#/one/users", "/#/two/users", "/#/one/last"}
        woken = asyncio.Event()
        name.waiters.append(woken.set)
        begun = asyncio.get_running_loop().time()
        await woken.wait()
        assert asyncio.get_running_loop().time() - begun == pytest.approx(BIND_TIMEOUT)
        assert it.binder.refusal(name).status == 503


@virtual
async def test_alternates_that_were_asked_for_in_a_hurry_are_released_when_the_first_choice_answers() -> None:
    async with world("/svc => /#/one | /#/two") as it:
        it.one.silent = True
        it.two.truth[USERS] = at(90)
        name = it.ask("users")
        await settle()
        it.binder.hurry(name)
        await settle()
        it.one.state(USERS, at(80))
        await settle()
        assert it.leads_to("users") == {"/#/one/users": 1}
        await asyncio.sleep(2 * LINGER)
        assert it.observed() == {"/#/one/users"}


@virtual
async def test_a_source_that_never_answered_lets_the_alternate_serve_and_takes_over_when_it_answers() -> None:
    async with world("/svc => /#/one | /#/two") as it:
        it.one.error = Unavailable("down")
        it.two.truth[USERS] = at(90)
        it.ask("users")
        await asyncio.sleep(BIND_TIMEOUT / 2)
        assert it.scope("users") is None
        await asyncio.sleep(BIND_TIMEOUT)
        assert it.leads_to("users") == {"/#/two/users": 1}
        it.one.truth[USERS] = at(80)
        it.one.recover()
        await asyncio.sleep(10)
        assert it.leads_to("users") == {"/#/one/users": 1}


@virtual
async def test_a_source_that_never_answered_is_no_proof_that_the_name_does_not_exist() -> None:
    async with world("/svc => /#/one | /#/two") as it:
        it.one.error = Unavailable("down")
        name = it.ask("users")
        await asyncio.sleep(2 * BIND_TIMEOUT)
        refusal = it.binder.refusal(name)
        assert refusal.status == 503
        assert "can't tell" in refusal.err
        assert "down" in refusal.body


@virtual
async def test_a_source_that_has_answered_never_counts_as_missing_because_of_an_error() -> None:
    async with world("/svc => /#/one | /#/two") as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(90)
        it.ask("users")
        await settle()
        it.one.fail(Unavailable("down"))
        await asyncio.sleep(3600)
        assert it.leads_to("users") == {"/#/one/users": 1}
        assert it.ports("/#/one/users") == {80}
        state = it.observatory.state(Path(("#", "one", "users")))
        assert isinstance(state, Known)
        assert state.held == "down"


@virtual
async def test_a_union_serves_without_the_branch_that_fails_and_with_it_once_it_answers() -> None:
    async with world("/svc => 3 * /#/one & 1 * /#/two") as it:
        it.one.error = Unavailable("down")
        it.two.truth[USERS] = at(90)
        it.ask("users")
        await asyncio.sleep(2 * BIND_TIMEOUT)
        assert it.leads_to("users") == {"/#/two/users": 1}
        it.one.truth[USERS] = at(80)
        it.one.recover()
        await asyncio.sleep(10)
        assert it.leads_to("users") == {"/#/one/users": 3, "/#/two/users": 1}
        it.two.state(USERS, Neg())
        await settle()
        assert it.leads_to("users") == {"/#/one/users": 1}


@virtual
async def test_an_adopted_name_is_withdrawn_only_when_its_source_says_so() -> None:
    async with world() as it:
        it.one.error = Unavailable("down")
        name = it.ask("users", adopted=True)
        await asyncio.sleep(10 * BIND_TIMEOUT)
        assert (name.adopted, name.published) == (True, True)
        it.one.recover()
        await asyncio.sleep(10)
        assert (name.adopted, name.published) == (False, False)
        assert it.binder.refusal(name).status == 404


@virtual
async def test_at_most_a_few_spellings_of_a_name_are_kept() -> None:
    async with world() as it:
        it.one.truth[USERS] = at(80)
        for spelling in spellings("users"):
            it.ask(it.binder.spelling(("http", spelling), Path(("svc", "users")))[1])
        await asyncio.sleep(2)
        kept = [name.key for name in it.binder.names]
        assert len(kept) <= ALIASES + 2
        assert "users" in kept
        assert len(it.ads.store.resources(SCOPE)) == len(kept)
        assert it.clusters() == {"/#/one/users"}


@virtual
async def test_the_plain_spelling_keeps_its_place_whatever_others_are_asked_for() -> None:
    async with world() as it:
        it.one.truth[USERS] = at(80)
        it.ask("users")
        for spelling in spellings("users"):
            it.ask(spelling)
        await settle()
        assert it.leads_to("users") == {"/#/one/users": 1}


@virtual
async def test_the_refused_name_that_was_asked_for_longest_ago_makes_room() -> None:
    async with world(limits=Limits(names=10, refused=3)) as it:
        for host in ("a", "b", "c"):
            it.ask(host)
            await asyncio.sleep(1)
        it.ask("a")
        it.ask("d")
        await settle()
        assert {name.key for name in it.binder.names} == {"a", "c", "d"}


@virtual
async def test_names_that_wait_for_a_silent_source_are_bounded_and_keep_their_callers() -> None:
    async with world(limits=Limits(names=10, refused=3)) as it:
        it.one.silent = True
        waiting = [it.ask(host) for host in ("a", "b", "c")]
        for name in waiting:
            name.waiters.append(lambda: None)
        assert it.try_ask("d") is None
        assert it.try_ask("a") is waiting[0]
        waiting[1].waiters.clear()
        assert it.try_ask("d") is not None
        assert {name.key for name in it.binder.names} == {"a", "c", "d"}


@virtual
async def test_no_more_names_are_bound_than_the_limit_says() -> None:
    async with world(limits=Limits(names=10, refused=3)) as it:
        for number in range(20):
            it.one.truth[Path((f"n{number}",))] = at(80)
            it.try_ask(f"n{number}")
            await settle()
        assert len(it.ads.store.resources(SCOPE)) == 10


@virtual
async def test_refused_names_take_no_room_from_bound_ones() -> None:
    async with world(limits=Limits(names=10, refused=3)) as it:
        for number in range(100):
            it.ask(f"unknown{number}")
            await settle()
        for number in range(10):
            it.one.truth[Path((f"n{number}",))] = at(80)
            it.ask(f"n{number}")
            await settle()
        assert len(it.ads.store.resources(SCOPE)) == 10
        assert it.binder.names.refused_count <= 3


@virtual
async def test_many_random_names_leave_few_observations_behind() -> None:
    """Else a caller who sends random names makes the agent observe as many as it can send within the linger time."""
    async with world(limits=Limits(names=100, refused=100)) as it:
        for number in range(5000):
            it.ask(f"random{number}")
            await settle()
        assert len(it.binder.names) <= 100
        assert len(it.observed()) <= 1000


@virtual
async def test_whoever_waits_for_a_name_that_is_dropped_is_woken() -> None:
    async with world() as it:
        it.one.silent = True
        name = it.ask("users")
        woken = asyncio.Event()
        name.waiters.append(woken.set)
        it.binder.drop(name)
        assert woken.is_set()
        assert it.binder.refusal(name).status == 503


@pytest.mark.parametrize("seed", range(6))
@virtual
async def test_after_any_history_envoy_is_told_what_the_table_and_the_truth_say(seed: int) -> None:
    dice = random.Random(seed)
    dtab = "/svc => /#/one | /#/two ; /svc/n3 => 2 * /#/one/n1 & 1 * /#/two/n2 ; /svc/n4 => /#/two/n0 | /#/one/n1"
    async with world(dtab, limits=Limits(names=50, refused=4)) as it:
        for _ in range(300):
            await _one_step(it, dice)
        await asyncio.sleep(60)
        _as_the_truth_says(it)
        for name in list(it.binder.names):
            it.binder.drop(name)
        await asyncio.sleep(2 * LINGER)
        it.publisher.sweep()
        assert it.observed() == it.clusters() == set()
        assert not it.ads.store.resources(SCOPE)
        assert not it.ads.store.resources(ENDPOINTS)


async def _one_step(it: World, dice: random.Random) -> None:
    platform, name = dice.choice((it.one, it.two)), Path((f"n{dice.randrange(5)}",))
    names = list(it.binder.names)
    match dice.randrange(9):
        case 0 | 1 | 2:
            platform.state(name, dice.choice((Neg(), Bound(), at(80), at(80, 81))))
        case 3 | 4 | 5:
            it.try_ask(dice.choice((name[0], name[0].upper(), f"{name[0]}.")))
        case 6 if names:
            it.binder.drop(dice.choice(names))
        case 7:
            platform.fail(Unavailable("down"))
            await asyncio.sleep(dice.choice((0.1, 5)))
            platform.recover()
        case 8:
            it.publisher.sweep()
            if names:
                it.binder.hurry(dice.choice(names))
    await asyncio.sleep(dice.choice((0, 0.01, 3)))


def _as_the_truth_says(it: World) -> None:
    truth = {
        Path(("#", label)).then(name): addr
        for label, platform in (("one", it.one), ("two", it.two))
        for name, addr in platform.truth.items()
    }
    for name in it.binder.names:
        fresh = bind(
            it.binder.dtab,
            name.path,
            it.binder.namers,
            lambda path: Known(truth.get(path, Neg()), 0, 0),
            it.binder.options,
        )
        assert name.binding is not None
        assert name.binding.tree == fresh.tree, name.path
        assert (it.scope(name.key) is not None) == (fresh.grade in (Grade.LIVE, Grade.DEAD))
        for cluster in it.leads_to(name.key):
            addr = truth[Path.parse(cluster)]
            assert isinstance(addr, Bound)
            assert it.ports(cluster) == {endpoint.port for endpoint in addr.endpoints}


async def _until_bound(it: World, host: str, port: int) -> None:
    await eventually(lambda: it.ports(next(iter(it.leads_to(host)), "")) == {port}, 10, f"{host} is not bound")


def _inet(server: FakeDns) -> SourceEntry:
    resolver = Resolver(nameservers=[server.address], timeout=0.2, shortest_ttl=0.05)
    return SourceEntry(INET, "inet", 2, InetSource(resolver.resolve), Settings(resync=0.0, bind_timeout=0.5), fewest=1)


async def test_a_host_of_the_table_is_resolved_and_followed() -> None:
    async with fake_dns() as server, world("/svc => /$/inet/db.test/80", more=[_inet(server)]) as it:
        server.put("db.test.", "A", "192.0.2.1", ttl=0)
        it.ask("users")
        await _until_bound(it, "users", 80)
        server.remove("db.test.")
        await eventually(lambda: it.scope("users") is None, 10, "a host that is gone is still led to")


@pytest.mark.parametrize("trouble", ["dark", "servfail", "refused"])
async def test_dns_trouble_is_never_taken_for_a_host_that_is_gone(trouble: str) -> None:
    async with fake_dns() as server, world("/svc => /$/inet/db.test/80", more=[_inet(server)]) as it:
        server.put("db.test.", "A", "192.0.2.1", ttl=0)
        it.ask("users")
        await _until_bound(it, "users", 80)
        _spoil(server, trouble)
        path = INET.then(("db.test", "80"))

        def held() -> bool:
            state = it.observatory.state(path)
            return isinstance(state, Known) and state.held is not None

        await eventually(held, 10, "the trouble is not told")
        assert it.ports("/$/inet/db.test/80") == {80}
        assert it.leads_to("users")


@pytest.mark.parametrize("trouble", ["dark", "servfail", "refused"])
async def test_a_host_that_could_never_be_resolved_is_unknown_not_missing(trouble: str) -> None:
    async with fake_dns() as server, world("/svc => /$/inet/db.test/80", more=[_inet(server)]) as it:
        _spoil(server, trouble)
        name = it.ask("users")
        path = INET.then(("db.test", "80"))
        await eventually(lambda: not isinstance(it.observatory.state(path), Pending), 10, "no end of waiting")
        refusal = it.binder.refusal(name)
        assert refusal.status == 503
        assert "can't tell" in refusal.err
        assert "DNS: db.test" in refusal.body


def _spoil(server: FakeDns, trouble: str) -> None:
    if trouble == "dark":
        server.go_dark()
    else:
        server.fail("db.test.", {"servfail": dns.rcode.SERVFAIL, "refused": dns.rcode.REFUSED}[trouble])
