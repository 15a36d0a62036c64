"""USERS 5: the same instance seen by two sources is counted once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from discovery.address import Endpoint, Health, bound
from discovery.path import Path
from mesh.agent.overlap import Part, counted, parts
from mesh.naming.tree import BoundName, BoundTree, Empty, Leaf, Union, Weighted
from scripts.running import service
from tests.binding import LINGER, World, at, world
from tests.host import host
from tests.virtual_time import settle, virtual

A, B, C = (Path(("#", name, "users")) for name in ("one", "two", "three"))
USERS = Path(("users",))


def split(*branches: BoundTree) -> BoundTree:
    return Union(tuple(Weighted(1.0, branch) for branch in branches))


def leaf(id: Path) -> BoundTree:
    return Leaf(BoundName(id))


def known(**ports: list[int]) -> dict[Path, tuple[Endpoint, ...]]:
    return {
        Path(("#", name, "users")): bound(Endpoint("10.0.0.1", p) for p in each).endpoints
        for name, each in ports.items()
    }


def test_the_first_branch_that_has_an_instance_keeps_it() -> None:
    states = known(one=[1, 2], two=[2, 3], three=[3, 1])
    found = parts(split(leaf(A), leaf(B), leaf(C)), states.__getitem__)
    assert found == {A: Part(A), B: Part(B, (A,)), C: Part(C, (A, B))}
    assert [[each.port for each in part.endpoints(states.__getitem__)] for part in found.values()] == [[1, 2], [3], []]


def test_branches_that_share_nothing_stay_as_they_are() -> None:
    states = known(one=[1, 2], two=[3], three=[])
    tree = split(leaf(A), split(leaf(B), leaf(C)))
    found = parts(tree, states.__getitem__)
    assert found == {A: Part(A), B: Part(B), C: Part(C)}
    assert counted(tree, found, states.__getitem__) is tree


def test_a_branch_of_which_others_have_everything_gives_its_share_away_and_an_empty_or_written_one_does_not() -> None:
    states = known(one=[1, 2], two=[2], three=[])
    tree = split(leaf(A), leaf(B), leaf(C), Empty())
    assert counted(tree, parts(tree, states.__getitem__), states.__getitem__) == split(leaf(A), leaf(C), Empty())
    inner = split(leaf(A), split(leaf(B), leaf(B)))
    assert counted(inner, parts(inner, states.__getitem__), states.__getitem__) == split(leaf(A))


def test_a_branch_of_weight_0_takes_no_instance_from_one_that_gets_requests() -> None:
    """As the last step of a shift between two sources that know the same instances."""
    states = known(one=[1, 2], two=[2, 1])
    tree = Union((Weighted(0.0, leaf(A)), Weighted(1.0, leaf(B))))
    found = parts(tree, states.__getitem__)
    assert found == {A: Part(A, (B,)), B: Part(B)}
    assert counted(tree, found, states.__getitem__) == Union((Weighted(1.0, leaf(B)),))


def lead(it: World) -> dict[frozenset[int], int]:
    return {frozenset(it.ports(cluster)): share for cluster, share in it.leads_to("users").items()}


@virtual
async def test_an_instance_in_both_branches_of_a_union_is_served_from_the_first() -> None:
    async with world("/svc => /#/one & /#/two") as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80, 81), at(81, 82)
        it.ask("users")
        await settle()
        assert lead(it) == {frozenset({80, 81}): 1, frozenset({82}): 1}


@virtual
async def test_sharing_that_begins_and_ends_is_followed() -> None:
    async with world("/svc => /#/one & /#/two") as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(81)
        it.ask("users")
        await settle()
        plain = it.leads_to("users")
        assert plain == {"/#/one/users": 1, "/#/two/users": 1}
        it.one.state(USERS, at(80, 81))
        await settle()
        assert lead(it) == {frozenset({80, 81}): 1}
        it.two.state(USERS, at(81, 82))
        await settle()
        assert lead(it) == {frozenset({80, 81}): 1, frozenset({82}): 1}
        it.one.state(USERS, at(80))
        await settle()
        assert it.leads_to("users") == plain
        assert it.ports("/#/two/users") == {81, 82}


@virtual
async def test_a_name_that_leads_to_one_of_them_alone_has_all_its_instances() -> None:
    async with world("/svc => /#/one & /#/two ; /svc/alone => /#/two/users") as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(80, 81)
        it.ask("users")
        it.ask("alone")
        await settle()
        assert it.leads_to("alone") == {"/#/two/users": 1}
        assert it.ports("/#/two/users") == {80, 81}
        assert lead(it) == {frozenset({80}): 1, frozenset({81}): 1}


@virtual
async def test_the_first_branch_decides_about_the_health_of_what_both_have() -> None:
    async with world("/svc => /#/one & /#/two") as it:
        ill = Endpoint("127.0.0.1", 81, health=Health.UNHEALTHY)
        it.one.truth[USERS] = bound([Endpoint("127.0.0.1", 80), ill])
        it.two.truth[USERS] = at(81, 82)
        it.ask("users")
        await settle()
        assert lead(it) == {frozenset({80, 81}): 1, frozenset({82}): 1}


@virtual
async def test_nothing_is_left_of_a_union_that_is_used_no_more() -> None:
    async with world("/svc => /#/one & /#/two") as it:
        it.one.truth[USERS], it.two.truth[USERS] = at(80), at(80, 81)
        name = it.ask("users")
        await settle()
        it.binder.drop(name)
        it.one.state(USERS, at(80, 81))
        await settle()
        assert it.clusters() != set()
        await asyncio.sleep(LINGER + 1)
        it.publisher.sweep()
        assert it.clusters() == set()


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_known_every_instance_is_in_exactly_one_part(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(200):
        states = known(**{name: dice.sample(range(6), dice.randrange(6)) for name in ("one", "two", "three")})
        found = parts(split(leaf(A), leaf(B), leaf(C)), states.__getitem__)
        seen = Counter(each.key for part in found.values() for each in part.endpoints(states.__getitem__))
        assert set(seen.values()) <= {1}
        assert set(seen) == {each.key for endpoints in states.values() for each in endpoints}


async def test_an_instance_in_both_branches_gets_no_second_share_of_the_requests() -> None:
    async with service("one") as one, service("two") as two:
        sources = [
            {"kind": "static", "prefix": "a", "names": {"users": [f"127.0.0.1:{one}"]}},
            {"kind": "static", "prefix": "b", "names": {"users": [f"127.0.0.1:{one}", f"127.0.0.1:{two}"]}},
        ]
        async with host("/svc => /#/a & /#/b", sources=sources) as started:
            await started.until("users", "one")
            seen = Counter([(await started.call("users")).body for _ in range(400)])
            # 200 each is meant; 300 to 100 it would be if the first were counted twice.
            assert 160 < seen["two"] < 240
            assert seen["one"] + seen["two"] == 400
            assert (await started.names())["users"]["endpoints"] == 2
            explained: Any = await started.json("/explain?name=users")
            counted_in = {
                (id, each["port"]): each["counted_in"]
                for id, described in explained["endpoints"].items()
                for each in described["endpoints"]
            }
            assert counted_in == {
                ("/#/a/users", one): None,
                ("/#/b/users", one): "/#/a/users",
                ("/#/b/users", two): None,
            }
            await started.no_nacks()
