from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Endpoint, Failed, Known, Neg, bound
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.remote.frames import MOST_BYTES, FromControl, Hello, Observation, Same, Sources, Table, from_control
from discovery.remote.offers import offered
from discovery.remote.reading import BadFrame
from mesh.control.hub import NAMES_A_FRAME, Due, Hub, TooManyNames
from tests.discovery.observation import up
from tests.fakes.memory import Platform
from tests.mesh.control.ends import Kept
from tests.virtual_time import settle, virtual

FAKE = Path.parse("/#/fake")
USERS, CARTS = "/#/fake/users", "/#/fake/carts"


@dataclass
class One:
    """An agent as the hub sees it."""

    hub: Hub
    hello: Hello = field(default_factory=lambda: Hello("host7"))
    woken: int = 0
    due: Due = field(init=False)

    def __post_init__(self) -> None:
        self.due = self.hub.join(self.hello, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def want(self, *names: str, version: str | None = None) -> None:
        self.hub.want(self.due, dict.fromkeys(names, version))

    def told(self) -> list[FromControl]:
        read = [from_control(frame.decode()) for frame in self.due.frames()]
        return [frame for frame in read if frame is not None]

    def observed(self) -> list[Observation]:
        return [frame for frame in self.told() if isinstance(frame, Observation)]


@dataclass
class World:
    platform: Platform
    observatory: Observatory
    hub: Hub
    tables: Kept
    offer: Sources

    def set(self, name: str, *numbers: int) -> None:
        self.platform.state(Path.parse(name).drop(2), up(*numbers))


@asynccontextmanager
async def world(most_names: int = 20_000) -> AsyncIterator[World]:
    platform, tables = Platform(), Kept()
    settings = Settings(resync=0, confirm_after=0, damping=0)
    entries = [SourceEntry(FAKE, "fake", 1, platform, settings)]
    async with Observatory(entries, lambda name, state: hub.changed(name, state), linger=0.0) as observatory:
        hub = Hub(observatory, offered(entries), tables, most_names=most_names)
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(hub.keep())
            await settle()
            yield World(platform, observatory, hub, tables, offered(entries))
            keeping.cancel()


def addresses(frame: FromControl) -> object:
    assert isinstance(frame, Observation)
    return frame.state.addr if isinstance(frame.state, Known) else frame.state


@virtual
async def test_who_comes_with_nothing_is_told_all_and_who_comes_with_it_nothing() -> None:
    async with world() as it:
        it.tables.put("/svc => /#/fake")
        assert One(it.hub).told() == [it.offer, Table("default", 1, "/svc => /#/fake", "", 1.0, "ann")]
        assert One(it.hub, Hello("host8", table=1, sources=it.offer.hash)).told() == []


@virtual
async def test_a_name_is_observed_while_anybody_wants_it_and_told_to_who_does() -> None:
    async with world() as it:
        first, second = One(it.hub), One(it.hub)
        first.told(), second.told()
        first.want(USERS)
        second.want(USERS)
        await settle()
        assert it.platform.open == 1
        assert [addresses(frame) for frame in first.told()] == [Neg()]
        it.hub.release(first.due, [USERS, CARTS])
        it.set(USERS, 1)
        await settle()
        assert first.told() == []
        assert [addresses(frame) for frame in second.told()] == [up(1)]
        it.hub.leave(second.due)
        it.hub.leave(second.due)
        await asyncio.sleep(1)
        assert (it.platform.open, len(it.hub)) == (0, 0)


@virtual
async def test_rule_7_a_state_is_encoded_once_for_all_who_want_it() -> None:
    async with world() as it:
        it.tables.put("/svc => /#/fake")
        agents = [One(it.hub) for _ in range(3)]
        for each in agents:
            each.want(USERS)
        await settle()
        kinds = [list(each.due.frames()) for each in agents]
        assert len(kinds[0]) == 3
        for one, two, three in zip(*kinds, strict=True):
            assert one is two is three


@virtual
async def test_rule_5_of_a_burst_a_slow_agent_gets_the_last() -> None:
    async with world() as it:
        one = One(it.hub)
        one.want(USERS)
        await settle()
        one.told()
        for number in range(1_000):
            it.set(USERS, number % 200)
            await settle()
        assert [addresses(frame) for frame in one.told()] == [up(199)]


@virtual
async def test_what_has_changed_to_and_fro_is_not_told() -> None:
    async with world() as it:
        it.set(USERS, 1)
        one = One(it.hub)
        one.want(USERS)
        await settle()
        one.told()
        it.set(USERS, 2)
        await settle()
        it.set(USERS, 1)
        await settle()
        assert one.told() == []


@virtual
async def test_a_change_between_two_frames_is_in_the_second() -> None:
    async with world() as it:
        one = One(it.hub)
        one.want(USERS, CARTS)
        await settle()
        one.told()
        it.set(USERS, 1)
        it.set(CARTS, 1)
        await settle()
        frames = one.due.frames()
        next(frames)
        it.set(CARTS, 2)
        await settle()
        rest = [from_control(frame.decode()) for frame in frames]
        assert [addresses(frame) for frame in rest if frame] == [up(2)]


@virtual
async def test_who_comes_back_is_told_same_and_no_endpoints_again() -> None:
    async with world() as it:
        it.set(USERS, 1)
        before = One(it.hub)
        before.want(USERS)
        await settle()
        [observation] = before.observed()
        it.hub.leave(before.due)
        await asyncio.sleep(1)
        assert it.platform.open == 0
        after = One(it.hub, Hello("host7", sources=it.offer.hash, table=0))
        after.want(USERS, version=observation.version)
        assert after.told() == []
        await settle()
        assert after.told() == [Same((USERS,))]
        it.set(USERS, 2)
        await settle()
        assert [addresses(frame) for frame in after.told()] == [up(2)]


@virtual
async def test_who_comes_back_with_another_version_is_told_the_state() -> None:
    async with world() as it:
        one = One(it.hub)
        one.want(USERS, version="of old")
        await settle()
        assert [addresses(frame) for frame in one.observed()] == [Neg()]


@virtual
async def test_many_that_are_the_same_are_told_in_few_frames() -> None:
    async with world() as it:
        names = [f"/#/fake/{number}" for number in range(2 * NAMES_A_FRAME + 1)]
        one = One(it.hub)
        one.want(*names)
        await settle()
        version = one.observed()[0].version
        again = One(it.hub, Hello("host8", sources=it.offer.hash, table=0))
        again.want(*names, version=version)
        told = again.told()
        assert [len(frame.names) for frame in told if isinstance(frame, Same)] == [NAMES_A_FRAME, NAMES_A_FRAME, 1]
        assert len(told) == 3


@virtual
async def test_what_is_wanted_again_is_answered_again() -> None:
    async with world() as it:
        one = One(it.hub)
        one.want(USERS)
        await settle()
        assert len(one.observed()) == 1
        one.want(USERS)
        [observation] = one.observed()
        one.want(USERS, version=observation.version)
        assert one.told() == [Same((USERS,))]


@virtual
async def test_what_has_no_answer_yet_is_not_told_and_its_failure_is() -> None:
    async with world() as it:
        it.platform.silent = True
        one = One(it.hub)
        one.want(USERS, version="of old")
        await settle()
        assert one.observed() == []
        await asyncio.sleep(3)
        assert [addresses(frame) for frame in one.observed()] != []


@virtual
async def test_a_change_costs_those_who_want_the_name_and_nobody_else() -> None:
    async with world() as it:
        others = [One(it.hub) for _ in range(1_000)]
        one = One(it.hub)
        one.want(USERS)
        await settle()
        woken = sum(other.woken for other in others)
        it.set(USERS, 1)
        await settle()
        assert sum(other.woken for other in others) == woken


_NAMES = [USERS, CARTS, "/#/fake/third"]
_agents, _names = st.integers(0, 2), st.sampled_from(_NAMES)
_steps = st.lists(
    st.tuples(st.just("want"), _agents, _names)
    | st.tuples(st.just("release"), _agents, _names)
    | st.tuples(st.just("change"), st.integers(0, 3), _names)
    | st.tuples(st.sampled_from(["read", "reconnect", "settle"]), _agents, _names),
    max_size=40,
)


@dataclass
class Model:
    """An agent that keeps what it is told: what a link does, in ten lines."""

    world: World
    one: One
    knows: dict[str, Observation] = field(default_factory=dict)
    wants: set[str] = field(default_factory=set)

    def read(self) -> None:
        for frame in self.one.told():
            if isinstance(frame, Observation):
                self.knows[frame.name.show()] = frame
            elif isinstance(frame, Same):
                assert all(name in self.knows for name in frame.names)

    def reconnect(self) -> None:
        self.one.hub.leave(self.one.due)
        self.one = One(self.one.hub)
        had = {name: self.knows[name].version if name in self.knows else None for name in self.wants}
        self.one.hub.want(self.one.due, had)

    def want(self, name: str) -> None:
        if name not in self.wants:
            self.wants.add(name)
            self.knows.pop(name, None)
            self.one.want(name)

    def release(self, name: str) -> None:
        self.wants.discard(name)
        self.one.hub.release(self.one.due, [name])


@given(_steps)
def test_whatever_happens_all_agents_end_up_with_the_truth_of_what_they_want(steps: list[tuple[str, int, str]]) -> None:
    @virtual
    async def run() -> None:
        async with world() as it:
            agents = [Model(it, One(it.hub)) for _ in range(3)]
            for step, number, name in steps:
                if step == "change":
                    it.set(name, *range(number))
                elif step == "settle":
                    await settle()
                elif step in ("want", "release"):
                    getattr(agents[number], step)(name)
                else:
                    getattr(agents[number], step)()
            await settle()
            for each in agents:
                each.read()
                told = {name: addresses(each.knows[name]) for name in each.wants}
                assert told == {name: it.platform.truth.get(Path.parse(name).drop(2), Neg()) for name in each.wants}

    run()


# Tables


@virtual
async def test_a_namespace_has_its_own_table_and_one_that_does_not_exist_says_so() -> None:
    async with world() as it:
        it.tables.put("/a => /b", "east")
        here, there = One(it.hub), One(it.hub, Hello("host8", "east"))
        assert here.told()[1] == Table("default", 0, None, None)
        assert there.told()[1] == Table("east", 1, "/a => /b", "", 1.0, "ann")
        it.tables.put("/a => /c", "east")
        assert here.told() == []
        assert there.told() == [Table("east", 2, "/a => /c", "", 1.0, "ann")]
        it.tables.put(None, "east")
        assert there.told() == [Table("east", 3, None, None, 1.0, "ann")]


@virtual
async def test_of_many_versions_a_slow_agent_gets_the_last() -> None:
    async with world() as it:
        one = One(it.hub)
        one.told()
        for number in range(100):
            it.tables.put(f"/svc => /{number}")
        [table] = one.told()
        assert isinstance(table, Table)
        assert table.version == 100


@virtual
async def test_no_table_is_told_before_the_store_has_answered() -> None:
    async with Observatory([], lambda *_: None) as observatory:
        tables = Kept()
        tables.known.clear()
        hub = Hub(observatory, offered([]), tables)
        one = One(hub)
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(hub.keep())
            await settle()
            assert one.told() == [offered([])]
            tables.put("/a => /b")
            tables.known.set()
            await settle()
            assert one.told() == [Table("default", 1, "/a => /b", "", 1.0, "ann")]
            keeping.cancel()


@pytest.mark.parametrize(
    ("held", "unreadable", "told"),
    [("the store can't be asked", {}, 0), (None, {"default": "it was set back"}, 0), (None, {"other": "x"}, 1)],
)
def test_an_older_table_is_told_only_while_the_store_can_be_believed(
    held: str | None, unreadable: dict[str, str], told: int
) -> None:
    @virtual
    async def run() -> None:
        async with world() as it:
            it.tables.put("/a => /b", number=16)
            it.tables.held, it.tables.unreadable = held, unreadable
            one = One(it.hub, Hello("host7", table=17, sources=it.offer.hash))
            assert len(one.told()) == told

    run()


@virtual
async def test_a_namespace_that_can_not_be_read_is_not_one_that_does_not_exist() -> None:
    async with world() as it:
        it.tables.unreadable = {"default": "no JSON"}
        one = One(it.hub)
        assert one.told() == [it.offer]
        it.tables.put("/a => /b")
        assert one.told() == [Table("default", 1, "/a => /b", "", 1.0, "ann")]


@virtual
async def test_a_store_that_has_lost_a_namespace_takes_no_table_away(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as it:
        agents = [One(it.hub, Hello("host7", table=17, sources=it.offer.hash)) for _ in range(3)]
        assert [each.told() for each in agents] == [[], [], []]
        assert caplog.text.count("the store has no table of a namespace that agents have") == 1
        it.tables.put("/a => /b")
        assert [len(each.told()) for each in agents] == [1, 1, 1]


# Sources


@virtual
async def test_another_offer_is_told_to_all() -> None:
    async with world() as it:
        one = One(it.hub)
        one.told()
        it.hub.offer(it.offer)
        assert one.told() == []
        it.hub.offer(offered([]))
        assert one.told() == [offered([])]


# Limits


@virtual
async def test_more_names_than_an_agent_may_have_are_refused() -> None:
    async with world(most_names=2) as it:
        one = One(it.hub)
        one.want(USERS, CARTS)
        one.want(USERS, CARTS)
        with pytest.raises(TooManyNames, match="more than 2 names"):
            one.want("/#/fake/third")


@virtual
async def test_what_is_larger_than_an_agent_reads_is_told_as_a_failure() -> None:
    async with world() as it:
        huge = (("text", "x" * MOST_BYTES),)
        it.platform.state(Path(("users",)), bound([Endpoint("10.0.0.1", 80, metadata=huge)]))
        one = One(it.hub)
        one.want(USERS)
        await settle()
        [observation] = one.observed()
        assert isinstance(observation.state, Failed)
        assert "more than the 16777216 that an agent reads" in observation.state.reason
        it.set(USERS, 1)
        await settle()
        assert [addresses(frame) for frame in one.told()] == [up(1)]


@pytest.mark.parametrize("spelling", ["users", "/#/fake/us ers", r"/#/fake/\x61"])
def test_a_name_is_written_as_it_is_shown(spelling: str) -> None:
    @virtual
    async def run() -> None:
        async with world() as it:
            with pytest.raises(BadFrame, match="names"):
                One(it.hub).want(spelling)

    run()


@virtual
async def test_who_has_left_wants_nothing_any_more() -> None:
    async with world() as it:
        one = One(it.hub)
        one.want(CARTS)
        it.hub.leave(one.due)
        one.want(USERS)
        await settle()
        assert one.told() == []
        assert (len(it.hub), it.platform.open) == (0, 0)
