from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.path import Path
from mesh.control import in_use
from mesh.control.in_use import InUse
from mesh.control.seen import Seen
from mesh.control.status import Unreadable
from mesh.naming.namers import SourceNamer

CONTROL = [SourceNamer(Path(("#", "consul")), 2), SourceNamer(Path(("#", "docker")), 2)]
DOCKER = {"prefix": "/#/docker", "segments": 2, "fewest": 1, "longest": True}


class Replica:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.seen = Seen(lambda: self.now)

    def hears(self, agent: str, rates: dict[str, float], **own: object) -> None:
        self.seen.joined(agent, "default", "0.1.0")
        rows = [{"router": "http", "name": f"/svc/{name}", "rate": rate} for name, rate in rates.items()]
        self.seen.reported(agent, json.loads(json.dumps({"type": "status", "names": rows, **own})))

    @property
    def said(self) -> InUse:
        """As another replica reads it."""
        return in_use.read(json.loads(json.dumps(self.seen.in_use("default").json())))


def shown(known: InUse) -> dict[str, dict[tuple[str, ...], float]]:
    """By name, the rates by those who see alike."""
    return {
        use.path.show(): {view.agents: round(rate, 6) for view, rate in use.rates.items()}
        for use in known.uses(CONTROL)
    }


def test_what_a_replica_says_is_what_it_knows() -> None:
    replica = Replica()
    replica.hears("a", {"users": 1.5, "cart": 2.0})
    local = {"/#/docker/shop/users": {"endpoints": 3}, "/#/docker/shop/cart": {"failed": "no docker"}}
    replica.hears("b", {"users": 4.0}, sources=[DOCKER], local=local, dtab="/svc/x => /svc/y")
    replica.hears("c", {"users": 0.5})
    here, there = replica.seen.in_use("default"), replica.said
    assert shown(here) == shown(there)
    assert shown(there) == {"/svc/users": {("a", "c"): 2.0, ("b",): 4.0}, "/svc/cart": {("a", "c"): 2.0}}
    assert there.roots() == here.roots() == {Path(("#", "docker"))}
    one, other = here.agents["b"].view, there.agents["b"].view
    assert one is not None
    assert other is not None
    assert (one.own, one.dtab, one.roots, one.agents) == (other.own, other.dtab, other.roots, other.agents)
    assert [(each.prefix, each.segments) for each in one.namers if isinstance(each, SourceNamer)] == [
        (each.prefix, each.segments) for each in other.namers if isinstance(each, SourceNamer)
    ]


def test_replicas_know_together_what_each_knows() -> None:
    one, two = Replica(), Replica()
    one.hears("a", {"users": 1.0, "cart": 2.0})
    two.hears("b", {"users": 3.0, "orders": 1.0})
    assert shown(in_use.merged([one.said, two.said])) == {
        "/svc/users": {("a", "b"): 4.0},
        "/svc/cart": {("a", "b"): 2.0},
        "/svc/orders": {("a", "b"): 1.0},
    }


def test_an_agent_that_has_moved_counts_where_it_is_with_what_it_has_there() -> None:
    one, two = Replica(), Replica()
    one.hears("a", {"users": 5.0}, dtab="/svc/users => /#/docker/shop/old")
    one.now += 10
    one.seen.left("a")
    two.now = 900.0  # Clocks differ.
    two.hears("a", {"users": 7.0}, dtab="/svc/users => /#/docker/shop/new")
    for order in ([one.said, two.said], [two.said, one.said]):
        (use,) = in_use.merged(order).uses(CONTROL)
        ((view, rate),) = use.rates.items()
        assert (view.agents, view.dtab.show(), rate) == (("a",), "/svc/users=>/#/docker/shop/new", 7.0)


_NAMES = st.dictionaries(st.sampled_from(["users", "cart", "orders"]), st.floats(0, 100).map(lambda x: round(x, 3)))


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 2), _NAMES, st.booleans()), max_size=8))
def test_however_agents_are_spread_over_replicas_the_same_is_known(
    reports: list[tuple[str, int, dict[str, float], bool]],
) -> None:
    """The last word of an agent counts, so each speaks once."""
    once = {agent: (at, names, own) for agent, at, names, own in reports}
    alone, replicas = Replica(), [Replica(), Replica(), Replica()]
    for agent, (at, names, own) in once.items():
        has = {"sources": [DOCKER], "local": {}} if own else {}
        alone.hears(agent, names, **has)
        replicas[at].hears(agent, names, **has)

    def told(known: InUse) -> dict[str, dict[frozenset[str], float]]:
        return {
            name: {frozenset(agents): rate for agents, rate in rates.items() if rate}
            for name, rates in shown(known).items()
        }

    together = in_use.merged([each.said for each in replicas])
    assert told(together) == told(alone.seen.in_use("default"))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "names: a list expected"),
        ({"names": [], "agents": {}}, "agents: a list expected"),
        ({"names": [{"router": "http", "name": "users", "rates": {}}], "agents": []}, "names[0].name: "),
        ({"names": [{"router": "http", "name": "/svc/a", "rates": {"x": -1}}], "agents": []}, "names[0].rates.x: "),
        ({"names": [], "agents": [{"agent": "a"}]}, "agents[0].since: a number of at least 0 expected"),
        ({"names": [], "agents": [{"agent": "a", "since": 1, "dtab": "/x"}]}, "agents[0].dtab: "),
    ],
)
def test_what_can_not_be_read_is_told_with_its_place(said: dict[str, object], why: str) -> None:
    with pytest.raises(Unreadable) as caught:
        in_use.read(said)
    assert str(caught.value).startswith(why)
