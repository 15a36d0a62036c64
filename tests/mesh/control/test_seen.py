from __future__ import annotations

import json
import logging
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Bound, Failed, Known, Neg, Pending
from discovery.path import Path
from mesh.control import status
from mesh.control.seen import REMEMBERED_SECONDS, Limits, Seen
from mesh.control.status import Counts, Unreadable
from mesh.naming.namers import SourceNamer

CONTROL = [SourceNamer(Path(("#", "consul")), 2), SourceNamer(Path(("#", "docker")), 2)]
USERS = Path(("svc", "users"))


class Fleet:
    """Agents that say what a test tells them to, as JSON."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - a frozen value
        self.now = 1_000.0
        self.seen = Seen(lambda: self.now, limits)

    def join(self, agent: str, namespace: str = "default") -> None:
        self.seen.joined(agent, namespace, "0.1.0")

    def say(self, agent: str, **frame: object) -> None:
        self.seen.reported(agent, json.loads(json.dumps({"type": "status", **frame})))

    def use(self, agent: str, **counted: tuple[int, int, float]) -> None:
        """name: requests, failures, rate."""
        rows = [
            {"router": "http", "name": f"/svc/{name}", "requests": requests, "failures": failures, "rate": rate}
            for name, (requests, failures, rate) in counted.items()
        ]
        self.say(agent, names=rows)

    def counts(self, namespace: str, names: list[Path]) -> Counts:
        wanted = [each for each in self.seen.names(namespace) if Path.parse(str(each["name"])) in names]
        return Counts(*(sum(int(str(each[key])) for each in wanted) for key in ("requests", "failures")))

    def rates(self, namespace: str = "default") -> dict[str, float]:
        return {use.path[-1]: sum(use.rates.values()) for use in self.seen.in_use(namespace).uses(CONTROL)}


def test_a_name_is_in_use_with_the_rates_of_all_agents_of_its_namespace() -> None:
    fleet = Fleet()
    for agent, namespace in (("a", "default"), ("b", "default"), ("c", "other")):
        fleet.join(agent, namespace)
    fleet.use("a", users=(10, 0, 1.5), cart=(5, 0, 2.0))
    fleet.use("b", users=(10, 0, 2.5))
    fleet.use("c", users=(10, 0, 9.0))
    assert fleet.rates() == {"users": 4.0, "cart": 2.0}
    assert fleet.rates("other") == {"users": 9.0}
    assert fleet.rates("nothing") == {}
    (row,) = (each for each in fleet.seen.names("default") if each["name"] == "/svc/users")
    assert (row["agents"], row["rate"]) == (["a", "b"], 4.0)


def test_a_name_stays_for_an_hour_after_the_last_agent_had_it_also_when_that_left() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.use("a", users=(10, 0, 1.5), cart=(5, 0, 2.0))
    fleet.now += 60
    fleet.use("a", users=(10, 0, 3.0))
    assert fleet.rates() == {"cart": 0.0, "users": 3.0}
    fleet.seen.left("a")
    assert fleet.rates() == {"cart": 0.0, "users": 0.0}
    fleet.now += REMEMBERED_SECONDS - 59
    assert fleet.rates() == {"users": 0.0}
    fleet.now += 60
    assert fleet.rates() == {}
    assert list(fleet.seen.agents()) == []


def test_a_report_without_names_leaves_them_as_they_were() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.use("a", users=(10, 0, 1.5))
    fleet.say("a", ready=True, table=17)
    assert fleet.rates() == {"users": 1.5}
    fleet.say("a", ready=False)
    told = next(iter(fleet.seen.agents())).json()
    assert (told["ready"], told["table"], told["connected"]) == (False, 17, True)


def test_counts_are_of_what_happened_since_also_when_proxies_restart() -> None:
    fleet = Fleet()
    for agent in ("a", "b"):
        fleet.join(agent)
    fleet.use("a", users=(1000, 100, 1.0))
    fleet.use("b", users=(500, 0, 1.0))
    began = fleet.counts("default", [USERS])
    # What they counted before nobody knows when is not counted.
    assert began == Counts(0, 0)
    fleet.use("a", users=(1010, 103, 1.0))
    fleet.use("b", users=(20, 1, 1.0), cart=(7, 7, 1.0))
    assert fleet.counts("default", [USERS]).since(began) == Counts(30, 4)
    fleet.use("b", cart=(9, 7, 1.0))
    fleet.use("b", users=(25, 1, 1.0))
    assert fleet.counts("default", [USERS]).since(began) == Counts(35, 4)
    fleet.seen.left("b")
    fleet.join("b")
    fleet.use("b", users=(27, 2, 1.0))
    assert fleet.counts("default", [USERS, Path(("svc", "cart"))]).since(began) == Counts(39, 5)
    assert fleet.counts("other", [USERS]) == Counts(0, 0)


def test_a_name_without_counters_is_in_use_and_counts_go_on_when_they_come_back() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.use("a", users=(10, 1, 1.0))
    row = {"router": "http", "name": "/svc/users", "requests": None, "failures": None, "rate": None}
    fleet.say("a", names=[row])
    assert fleet.rates() == {"users": 0.0}
    fleet.use("a", users=(15, 2, 1.0))
    assert fleet.counts("default", [USERS]) == Counts(5, 1)


def test_what_agents_observe_themselves_makes_a_view_of_their_own() -> None:
    fleet = Fleet()
    for agent in ("a", "b", "c"):
        fleet.join(agent)
        fleet.use(agent, users=(1, 0, 1.0))
    fleet.say(
        "b",
        local={"/#/docker/shop/users": {"endpoints": 3}, "/#/docker/shop/cart": {"endpoints": None}},
        sources=[{"prefix": "/#/docker", "segments": 2, "fewest": 2, "longest": False}],
    )
    (use,) = fleet.seen.in_use("default").uses(CONTROL)
    views = {view.agents: view for view in use.rates}
    assert set(views) == {("a", "c"), ("b",)}
    assert list(views["a", "c"].namers) == CONTROL
    own = views[("b",)]
    assert [namer.prefix for namer in own.namers] == [Path(("#", "consul")), Path(("#", "docker"))]
    users, cart = (own.state(Path(("#", "docker", "shop", name))) for name in ("users", "cart"))
    assert isinstance(users, Known)
    assert isinstance(users.addr, Bound)
    assert len(users.addr.endpoints) == 3
    assert cart == Known(Neg(), 0, 0)
    assert isinstance(own.state(Path(("#", "docker", "shop", "new"))), Pending)
    assert own.state(Path(("#", "consul", "dc1", "users"))) is None
    assert fleet.seen.in_use("default").roots() == {Path(("#", "docker"))}
    assert fleet.seen.in_use("other").roots() == set()


def test_an_agent_with_a_table_of_its_own_has_a_view_of_its_own() -> None:
    fleet = Fleet()
    for agent in ("a", "b"):
        fleet.join(agent)
        fleet.use(agent, users=(1, 0, 1.0))
    fleet.say("b", dtab="/svc/users=>/#/consul/dc1/beta")
    (use,) = fleet.seen.in_use("default").uses(CONTROL)
    assert {view.agents: view.dtab.show() for view in use.rates} == {
        ("a",): "",
        ("b",): "/svc/users=>/#/consul/dc1/beta",
    }
    fleet.say("b", dtab="")
    (use,) = fleet.seen.in_use("default").uses(CONTROL)
    assert [view.agents for view in use.rates] == [("a", "b")]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"pending": None}, Pending()),
        ({"pending": "slow"}, Pending("slow")),
        ({"failed": "dark"}, Failed("dark")),
        ({"endpoints": 0}, Known(Bound(), 0, 0)),
        ({"endpoints": 0, "held": True}, Known(Bound(), 0, 0, status.HELD)),
    ],
)
def test_states_as_agents_tell_them(said: dict[str, object], state: object) -> None:
    told = status.read({"local": {"/#/docker/a/b": said}}, None)
    assert told.own == {Path(("#", "docker", "a", "b")): state}
    # An agent that does not name its sources: by the names that it observes.
    view = told.view("a")
    assert view is not None
    assert view.roots == (Path(("#", "docker")),)


def test_what_a_later_version_says_of_a_name_is_not_known_and_not_taken_for_its_absence() -> None:
    told = status.read({"local": {"/#/docker/a/b": {"moved": "/#/docker/a/c"}}}, None)
    state = told.own[Path.parse("/#/docker/a/b")]
    assert state == Pending("what a later version says is not understood here (moved)")


def test_endpoints_that_may_not_be_used_and_names_that_are_lost_are_so_in_a_view_too() -> None:
    told = status.read(
        {"local": {"/#/d/a/b": {"endpoints": 2, "usable": False}, "/#/d/a/c": {"endpoints": 1, "lost": True}}}, None
    )
    unusable, lost = told.own.values()
    assert isinstance(unusable, Known)
    assert isinstance(unusable.addr, Bound)
    assert not any(each.serves for each in unusable.addr.endpoints)
    assert isinstance(lost, Known)
    assert lost.lost is not None


def test_names_are_bounded_and_the_oldest_go_first() -> None:
    fleet = Fleet(Limits(names=3))
    fleet.join("a")
    for number in range(5):
        fleet.now += 1
        fleet.use("a", **{f"n{number}": (1, 0, 1.0)})
    assert list(fleet.rates()) == ["n2", "n3", "n4"]
    assert fleet.seen.dropped_names == 2
    fleet.use("a", n2=(1, 0, 1.0), n9=(1, 0, 1.0))
    assert list(fleet.rates()) == ["n4", "n2", "n9"]


def test_agents_are_bounded_and_those_that_left_go_first() -> None:
    fleet = Fleet(Limits(agents=2))
    for agent in ("a", "b"):
        fleet.join(agent)
        fleet.use(agent, users=(1, 0, 1.0))
    fleet.seen.left("b")
    fleet.join("c")
    assert [each.name for each in fleet.seen.agents()] == ["a", "c"]
    fleet.join("d")
    assert [each.name for each in fleet.seen.agents()] == ["c", "d"]
    assert fleet.seen.dropped_agents == 2
    # The name stays, though nobody has it.
    assert fleet.rates() == {"users": 0.0}
    fleet.seen.reported("a", {"names": []})
    fleet.seen.left("a")


def test_an_agent_that_changes_its_namespace_is_no_longer_in_the_other() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.use("a", users=(1, 0, 1.0))
    fleet.join("a", "other")
    fleet.use("a", cart=(1, 0, 1.0))
    assert (fleet.rates(), fleet.rates("other")) == ({"users": 0.0}, {"cart": 1.0})


def test_a_report_that_can_not_be_read_is_told_once_and_the_last_one_kept(caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.use("a", users=(1, 0, 1.0))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            fleet.say("a", names=[{"router": "http", "name": "users"}])
    assert len(caplog.records) == 1
    agent = fleet.seen.agent("a")
    assert agent is not None
    assert agent.unreadable is not None
    assert agent.unreadable.startswith("names[0].name: ")
    assert fleet.rates() == {"users": 1.0}
    fleet.use("a", users=(1, 0, 2.0))
    assert agent.unreadable is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ROW = st.fixed_dictionaries({}, optional=dict.fromkeys(("router", "name", "requests", "failures", "rate"), JSON))
FRAME = st.fixed_dictionaries(
    {}, optional={"names": st.lists(ROW, max_size=3) | JSON, "local": JSON, "sources": JSON, "dtab": JSON, "more": JSON}
)


@given(FRAME)
def test_any_frame_is_read_or_refused_with_the_key(frame: dict[str, object]) -> None:
    key = wrong_key(frame)
    assert key is None or key in frame


def wrong_key(frame: dict[str, object]) -> str | None:
    try:
        status.read(frame, None).view("a")
    except Unreadable as error:
        return re.split(r"[:\[.]", str(error))[0]
    return None


def test_a_report_of_more_endpoints_than_can_be_is_refused() -> None:
    assert wrong_key({"local": {"/#/d/a/b": {"endpoints": 2**40}}}) == "local"


def test_whatever_agents_do_the_bounds_hold_and_no_name_speaks_of_an_agent_that_is_gone() -> None:
    rng, fleet = random.Random(9), Fleet(Limits(names=8, agents=4))
    for _ in range(3_000):
        fleet.now += rng.choice((0.1, 1.0, 10.0, 600.0))
        agent = rng.choice("abcdef")
        match rng.randrange(4):
            case 0:
                fleet.join(agent, rng.choice(("default", "default", "other")))
            case 1:
                fleet.seen.left(agent)
            case _:
                some = rng.sample(range(12), rng.randint(0, 5))
                fleet.use(agent, **{f"n{name}": (rng.randrange(50), rng.randrange(5), 1.0) for name in some})
        there = {each.name: each for each in fleet.seen.agents()}
        assert len(there) <= 4
        for space in ("default", "other"):
            assert len(fleet.rates(space)) <= 8
            for row in fleet.seen.names(space):
                connected = [there[str(each)] for each in row["agents"]]
                assert all(each.namespace == space and each.left_at is None for each in connected)
    assert fleet.seen.dropped_agents > 0
    assert fleet.seen.dropped_names > 0
