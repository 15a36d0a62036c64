from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from discovery.address import Addr, Failed, Known, Neg, Pending, State
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Unavailable
from tests.discovery.observation import up
from tests.virtual_time import settle, virtual

ROOT = Path.parse("/#/consul")
USERS = Path.parse("/#/consul/dc1/users")
DOWN = "the control plane can't be reached: no route"


class Relaying:
    """The other observatory and the link to it, in memory; the test says what is told."""

    def __init__(self) -> None:
        self.publish: dict[Path, Callable[[State | Unavailable], None]] = {}
        self.heard = 0.0
        self.doubt = False

    def relay(self, name: Path, publish: Callable[[State | Unavailable], None]) -> Callable[[], None]:
        assert name not in self.publish
        self.publish[name] = publish
        return lambda: self.publish.__delitem__(name)

    def in_doubt(self, name: Path) -> bool:
        assert name in self.publish
        return self.doubt

    def heard_at(self, name: Path) -> float:
        assert name in self.publish
        return self.heard

    def tell(self, told: State | Unavailable, name: Path = USERS) -> None:
        self.publish[name](told)


def relayed(source: Relaying, root: Path = ROOT, segments: int = 2) -> SourceEntry:
    return SourceEntry(root, "consul", segments, source, Settings(resync=0, last_resort=30.0, bind_timeout=2.0))


def sky(source: Relaying, told: list[State] | None = None, restored: dict[Path, Known] | None = None) -> Observatory:
    changes = told if told is not None else []
    return Observatory([relayed(source)], lambda _, state: changes.append(state), restored=restored)


@virtual
async def test_a_state_is_passed_on_as_it_is_told() -> None:
    source, told = Relaying(), list[State]()
    async with sky(source, told) as it:
        it.want(USERS)
        assert it.state(USERS) == Pending()
        states = [
            Known(up(1), 1, 2, "a loss is to be confirmed"),
            Known(up(1), 1, 2, "kept for 30 s", lost=Neg()),
            Known(Neg(), 3, 3, "no route"),
        ]
        for state in states:
            source.tell(state)
            assert it.state(USERS) == state
        assert told == states


@virtual
async def test_neither_hold_nor_confirm_nor_damping_happens_twice() -> None:
    source, told = Relaying(), list[State]()
    async with sky(source, told) as it:
        it.want(USERS)
        source.tell(Known(up(1, 2, 3, 4), 1, 1))
        source.tell(Known(up(), 2, 2))
        source.tell(Known(up(1), 3, 3))
        source.tell(Known(Neg(), 4, 4))
        assert [state.addr for state in told if isinstance(state, Known)] == [up(1, 2, 3, 4), up(), up(1), Neg()]


@virtual
async def test_what_is_not_held_was_confirmed_when_the_link_was_last_heard_and_telling_that_wakes_nobody() -> None:
    source, told = Relaying(), list[State]()
    async with sky(source, told) as it:
        it.want(USERS)
        source.tell(Known(up(1), 1, 2))
        source.heard = 1000.0
        assert it.state(USERS) == Known(up(1), 1, 1000.0)
        source.tell(Known(up(1), 1, 7))
        assert len(told) == 1


@virtual
async def test_a_name_never_seen_while_the_link_is_down_fails_after_the_bind_timeout_with_the_links_reason() -> None:
    source, told = Relaying(), list[State]()
    async with sky(source, told) as it:
        it.want(USERS)
        source.tell(Unavailable(DOWN))
        assert it.state(USERS) == Pending(DOWN)
        await asyncio.sleep(2.1)
        assert it.state(USERS) == Failed(f"no answer within 2 s: {DOWN}")
        source.tell(Unavailable("another reason"))
        assert it.state(USERS) == Failed("no answer within 2 s: another reason")
        source.tell(Known(up(1), 1, 2))
        assert isinstance(it.state(USERS), Known)


@virtual
async def test_rule_2_what_is_known_is_held_while_the_link_is_down_and_as_old_as_the_last_word() -> None:
    source, told = Relaying(), list[State]()
    async with sky(source, told) as it:
        it.want(USERS)
        source.tell(Known(up(1), 1, 2))
        source.heard = 50.0
        source.tell(Unavailable(DOWN))
        source.heard = 60.0
        assert it.state(USERS) == Known(up(1), 1, 50.0, DOWN)
        assert it.held_since(USERS) is not None
        assert it.outage(ROOT).is_failing(USERS)
        source.tell(Known(up(1), 1, 2))
        assert it.state(USERS) == Known(up(1), 1, 60.0)
        assert (it.held_since(USERS), it.outage(ROOT).is_failing(USERS)) == (None, False)


@pytest.mark.parametrize(
    ("less", "held"),
    [
        (Failed("no answer within 2 s: consul is down"), "no answer within 2 s: consul is down"),
        (Pending("consul is down"), "consul is down"),
        (Pending(), "the control plane has no answer yet"),
    ],
)
def test_a_control_plane_that_knows_less_than_we_do_takes_nothing_away(less: State, held: str) -> None:
    @virtual
    async def run() -> None:
        source = Relaying()
        async with sky(source) as it:
            it.want(USERS)
            source.tell(Known(up(1), 1, 2))
            source.heard = 5.0
            source.tell(less)
            assert it.state(USERS) == Known(up(1), 1, 5.0, held)

    run()


@virtual
async def test_what_failed_at_the_control_plane_has_failed_at_once_and_may_be_found_later() -> None:
    source = Relaying()
    async with sky(source) as it:
        it.want(USERS)
        source.tell(Failed("no source with this prefix"))
        assert it.state(USERS) == Failed("no source with this prefix")
        await asyncio.sleep(10)
        assert it.state(USERS) == Failed("no source with this prefix")
        source.tell(Known(Neg(), 1, 2))
        assert isinstance(it.state(USERS), Known)


@virtual
async def test_what_the_disk_remembers_is_held_until_it_is_told_anew() -> None:
    source = Relaying()
    async with sky(source, restored={USERS: Known(up(1), 1, 2)}) as it:
        it.want(USERS)
        assert it.state(USERS) == Known(up(1), 1, 2, "restored from disk, not confirmed yet")
        source.tell(Unavailable(DOWN))
        assert it.state(USERS) == Known(up(1), 1, 2, f"restored from disk, not confirmed: {DOWN}")
        await asyncio.sleep(10)
        source.tell(Known(up(1), 7, 8))
        assert it.state(USERS) == Known(up(1), 7, 0.0)
        source.tell(Unavailable(DOWN))
        assert it.state(USERS) == Known(up(1), 7, 0.0, DOWN)


@virtual
async def test_a_name_that_is_forgotten_ends_its_relay_and_leaves_no_timer() -> None:
    source, told = Relaying(), list[State]()
    async with sky(source, told) as it:
        it.want(USERS)
        source.tell(Unavailable(DOWN))
        it.release(USERS, linger=False)
        assert source.publish == {}
        await asyncio.sleep(10)
        assert told == []


@virtual
async def test_leaving_the_observatory_ends_every_relay() -> None:
    source = Relaying()
    async with sky(source) as it:
        it.want(USERS)
    assert source.publish == {}


# A control plane that began anew


def lost(state: State) -> tuple[Addr, Addr | None, bool]:
    assert isinstance(state, Known)
    return state.addr, state.lost, state.held is not None


@virtual
async def test_rule_2_a_first_word_that_takes_all_away_is_held_and_then_a_last_resort() -> None:
    source = Relaying()
    async with sky(source) as it:
        it.want(USERS)
        source.tell(Known(up(1, 2), 1, 1))
        source.doubt = True
        source.tell(Known(up(), 2, 2))
        assert lost(it.state(USERS)) == (up(1, 2), None, True)
        source.doubt = False
        await asyncio.sleep(1.9)
        assert lost(it.state(USERS)) == (up(1, 2), None, True)
        await asyncio.sleep(0.2)
        assert lost(it.state(USERS)) == (up(1, 2), up(), True)
        source.tell(Known(Neg(), 3, 3))
        assert lost(it.state(USERS)) == (up(1, 2), Neg(), True)
        await asyncio.sleep(27.8)
        assert lost(it.state(USERS)) == (up(1, 2), Neg(), True)
        await asyncio.sleep(0.2)
        assert lost(it.state(USERS)) == (Neg(), None, False)


@virtual
async def test_half_of_them_lost_is_held_what_comes_serves_and_a_better_word_is_believed_at_once() -> None:
    source = Relaying()
    async with sky(source, restored={USERS: Known(up(1, 2, 3, 4), 1, 2)}) as it:
        it.want(USERS)
        source.doubt = True
        source.tell(Known(up(9), 2, 2))
        assert lost(it.state(USERS)) == (up(1, 2, 3, 4, 9), None, True)
        source.doubt = False
        source.tell(Known(up(1, 2, 9), 3, 3))
        assert lost(it.state(USERS)) == (up(1, 2, 9), None, False)
        source.tell(Known(up(), 4, 4))
        assert lost(it.state(USERS)) == (up(), None, False)
        source.tell(Known(up(1, 2, 3, 4), 5, 5))
        source.doubt = True
        source.tell(Known(up(9), 6, 6))
        await asyncio.sleep(2.1)
        assert lost(it.state(USERS)) == (up(9), None, False)


@virtual
async def test_a_loss_that_the_control_plane_itself_holds_is_its_affair_and_a_lost_link_confirms_nothing() -> None:
    source = Relaying()
    async with sky(source) as it:
        it.want(USERS)
        source.tell(Known(up(1, 2), 1, 1))
        source.doubt = True
        source.tell(Known(up(), 2, 2))
        source.tell(Unavailable(DOWN))
        await asyncio.sleep(60)
        assert it.state(USERS) == Known(up(1, 2), 1, 0.0, DOWN)
        source.tell(Known(Neg(), 3, 3, held="Consul can't be asked"))
        assert it.state(USERS) == Known(Neg(), 3, 3, "Consul can't be asked")


# Mounting


@virtual
async def test_names_wanted_before_their_source_is_mounted_are_asked_for_then() -> None:
    source, told = Relaying(), list[tuple[Path, State]]()
    async with Observatory([], lambda name, state: told.append((name, state))) as it:
        it.want(USERS)
        assert it.state(USERS) == Failed("no source with this prefix")
        it.mount([relayed(source)])
        assert told == [(USERS, Pending())]
        source.tell(Known(up(1), 1, 2))
        await settle()
        assert [state for _, state in told][1:] == [Known(up(1), 1, 2)]
        it.release(USERS, linger=False)
        assert source.publish == {}


@virtual
async def test_mounting_the_same_again_or_with_another_freshness_touches_no_name() -> None:
    source, told = Relaying(), list[State]()
    async with Observatory([], lambda _, state: told.append(state)) as it:
        it.mount([relayed(source)])
        it.want(USERS)
        source.tell(Known(up(1), 1, 2))
        publish = source.publish[USERS]
        it.mount([replace(relayed(source), kind="other", longest=True)])
        assert source.publish[USERS] is publish
        assert len(told) == 1
        [(_, _, entry)] = it.known()
        assert entry is not None
        assert entry.kind == "other"


@virtual
async def test_only_names_whose_entry_changes_begin_anew() -> None:
    source, told = Relaying(), list[tuple[str, State]]()
    ecs, carts = Path.parse("/#/ecs"), Path.parse("/#/ecs/prod/carts")
    async with Observatory([], lambda name, state: told.append((name.show(), state))) as it:
        it.mount([relayed(source), relayed(source, ecs)])
        for name in (USERS, carts):
            it.want(name)
            source.tell(Known(up(1), 1, 2), name)
        told.clear()
        publish = source.publish[USERS]
        it.mount([relayed(source), relayed(source, ecs, segments=3)])
        assert source.publish[USERS] is publish
        assert told == [(carts.show(), it.state(carts))]
        assert it.state(carts) == Failed("/#/ecs is asked for names of 3 segments, not 2")
        it.mount([relayed(source)])
        assert it.state(carts) == Failed("no source with this prefix")
        with pytest.raises(KeyError):
            it.outage(ecs)
        it.mount([relayed(source), relayed(source, ecs)])
        source.tell(Known(up(2), 1, 2), carts)
        assert isinstance(it.state(carts), Known)


@virtual
async def test_a_deeper_prefix_takes_its_names_over_and_gives_them_back() -> None:
    outer, inner = Relaying(), Relaying()
    async with Observatory([], lambda *_: None) as it:
        it.mount([relayed(outer)])
        it.want(USERS)
        it.mount([relayed(outer), relayed(inner, Path.parse("/#/consul/dc1"), segments=1)])
        assert (list(outer.publish), list(inner.publish)) == ([], [USERS])
        it.mount([relayed(outer)])
        assert (list(outer.publish), list(inner.publish)) == ([USERS], [])


@virtual
async def test_a_source_of_our_own_goes_before_a_mounted_one() -> None:
    own, source = Relaying(), Relaying()
    async with sky(own) as it:
        it.want(USERS)
        it.mount([relayed(source)])
        assert (list(own.publish), source.publish) == ([USERS], {})
        it.mount([])
        assert list(own.publish) == [USERS]


@virtual
async def test_a_name_released_while_another_ones_change_is_told_is_left_alone() -> None:
    source = Relaying()
    names = [Path.parse(f"/#/consul/dc1/{number}") for number in range(3)]

    def drop(name: Path, _: State) -> None:
        for each in names:
            if each != name:
                it.release(each, linger=False)
        names[:] = [name]

    async with Observatory([], drop) as it:
        for name in names:
            it.want(name)
        it.mount([relayed(source)])
        assert list(source.publish) == names


@virtual
async def test_only_what_relays_is_mounted_and_one_per_prefix() -> None:
    async with Observatory([], lambda *_: None) as it:
        with pytest.raises(ValueError, match="one prefix"):
            it.mount([relayed(Relaying()), relayed(Relaying())])
        with pytest.raises(TypeError, match="relay"):
            it.mount([SourceEntry(ROOT, "consul", 2, object())])  # type: ignore[arg-type]  # the mistake
