from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import pytest

from discovery.address import Bound, Endpoint, Failed, Known, Neg, Pending, State, bound
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Publish, Unavailable
from tests.discovery.observation import up
from tests.fakes.memory import Platform
from tests.virtual_time import settle, virtual

FAKE = Path.parse("/#/fake")
USERS = Path.parse("/#/fake/users")
ONE = bound([Endpoint("10.0.0.1", 80)])
QUIET = Settings(resync=0)


def entry(root: str, source: Platform, segments: int = 1, settings: Settings = QUIET) -> SourceEntry:
    return SourceEntry(Path.parse(root), root.rpartition("/")[2], segments, source, settings)


def observatory(*entries: SourceEntry, restored: dict[Path, Known] | None = None) -> Observatory:
    return Observatory(entries, lambda _name, _state: None, restored=restored, rng=random.Random(1))


@virtual
async def test_a_name_is_observed_once_however_many_want_it() -> None:
    source = Platform()
    async with observatory(entry("/#/fake", source)) as sky:
        for _ in range(3):
            sky.want(USERS)
        await settle()
        assert (source.open, len(source.asked)) == (1, 1)
        assert isinstance(sky.state(USERS), Known)


@virtual
async def test_what_nobody_wants_is_pending_and_not_observed() -> None:
    source = Platform()
    async with observatory(entry("/#/fake", source)) as sky:
        assert sky.state(USERS) == Pending()
        await settle()
        assert source.asked == []


@virtual
async def test_after_the_last_release_a_name_lingers_and_is_then_forgotten() -> None:
    source = Platform()
    async with observatory(entry("/#/fake", source)) as sky:
        sky.want(USERS)
        sky.want(USERS)
        sky.release(USERS)
        await asyncio.sleep(20)
        assert source.open == 1
        sky.release(USERS)
        await asyncio.sleep(9)
        assert source.open == 1
        await asyncio.sleep(1.1)
        assert (source.open, sky.state(USERS), list(sky.known())) == (0, Pending(), [])


@virtual
async def test_a_name_wanted_again_while_it_lingers_is_the_same_observation() -> None:
    source = Platform()
    async with observatory(entry("/#/fake", source)) as sky:
        sky.want(USERS)
        sky.release(USERS)
        await asyncio.sleep(9)
        sky.want(USERS)
        await asyncio.sleep(30)
        sky.release(USERS)
        await asyncio.sleep(9)
        assert (source.open, len(source.asked)) == (1, 1)
        await asyncio.sleep(1.1)
        assert source.open == 0


@virtual
async def test_releasing_what_is_not_wanted_is_refused() -> None:
    async with observatory(entry("/#/fake", Platform())) as sky:
        with pytest.raises(KeyError):
            sky.release(USERS)
        sky.want(USERS)
        sky.release(USERS)
        with pytest.raises(KeyError):
            sky.release(USERS)


@virtual
async def test_a_path_under_no_source_is_failed_at_once_and_wanting_tells_nobody() -> None:
    told: list[Path] = []
    async with Observatory([entry("/#/fake", Platform())], lambda name, _: told.append(name)) as sky:
        sky.want(Path.parse("/#/ecs/users"))
        assert sky.state(Path.parse("/#/ecs/users")) == Failed("no source with this prefix")
        sky.want(Path.parse("/#/fake/users/x"))
        assert sky.state(Path.parse("/#/fake/users/x")) == Failed("/#/fake is asked for names of 1 segments, not 2")
        assert told == []
        sky.want(USERS)
        assert told == []


@virtual
async def test_the_longest_prefix_decides() -> None:
    outer, inner = Platform(), Platform()
    inner.truth[Path(("users",))] = ONE
    outer.truth[Path(("users",))] = Bound()
    async with observatory(entry("/#/consul", outer), entry("/#/consul/east", inner)) as sky:
        sky.want(Path.parse("/#/consul/east/users"))
        sky.want(Path.parse("/#/consul/users"))
        await settle()
        states = {
            name.show(): (state.addr, entry.kind)
            for name, state, entry in sky.known()
            if entry and isinstance(state, Known)
        }
        assert states == {"/#/consul/east/users": (ONE, "east"), "/#/consul/users": (Bound(), "consul")}


def test_two_sources_of_one_prefix_are_refused() -> None:
    with pytest.raises(ValueError, match="one prefix"):
        observatory(entry("/#/fake", Platform()), entry("/#/fake", Platform()))


@virtual
async def test_restored_states_are_there_before_anybody_answers() -> None:
    source = Platform()
    source.fail(Unavailable("no network"))
    async with observatory(entry("/#/fake", source), restored={USERS: Known(ONE, 1, 2)}) as sky:
        assert sky.state(USERS) == Pending()
        sky.want(USERS)
        assert sky.state(USERS) == Known(ONE, 1, 2, "restored from disk, not confirmed yet")


@virtual
async def test_what_is_held_has_been_so_since_the_first_error_whatever_the_later_ones_say() -> None:
    source = Platform()
    source.truth[Path(("users",))] = ONE
    now = asyncio.get_running_loop().time
    async with Observatory([entry("/#/fake", source)], lambda _name, _state: None, clock=now) as sky:
        sky.want(USERS)
        await settle()
        assert sky.held_since(USERS) is None
        await asyncio.sleep(100)
        failed_at = now()
        source.fail(Unavailable("no network"))
        await settle()
        source.fail(Unavailable("no route"))
        await asyncio.sleep(100)
        assert sky.held_since(USERS) == pytest.approx(failed_at)
        assert (sky.outage(FAKE).errors > 1, sky.outage(FAKE).last_error) == (True, "no route")
        source.recover()
        await asyncio.sleep(100)
        assert sky.held_since(USERS) is None


@virtual
async def test_what_is_restored_is_held_from_the_beginning() -> None:
    source = Platform()
    source.fail(Unavailable("no network"))
    restored = {USERS: Known(ONE, 1, 2)}
    async with Observatory([entry("/#/fake", source)], lambda *_: None, restored=restored, clock=lambda: 7.0) as sky:
        assert sky.held_since(USERS) is None
        sky.want(USERS)
        assert sky.held_since(USERS) == 7.0


@virtual
async def test_names_come_from_the_catalogue() -> None:
    source = Platform()
    source.truth[Path(("users",))] = ONE
    async with observatory(entry("/#/fake", source)) as sky:
        assert await sky.names(FAKE) == [Path(("users",))]


class _Unlisted:
    async def observe(self, name: Path, publish: Publish) -> None:
        raise NotImplementedError


@virtual
async def test_a_source_without_a_catalogue_has_no_names_rather_than_an_empty_list_of_them() -> None:
    async with observatory(SourceEntry(FAKE, "fake", 1, _Unlisted())) as sky:
        assert await sky.names(FAKE) is None


class _Slow:
    """Cleans up after itself when it is cancelled."""

    async def observe(self, name: Path, publish: Publish) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.1)

    async def names(self) -> Iterable[Path]:
        return []


@virtual
async def test_leaving_ends_every_observation_and_leaves_no_timer_that_acts() -> None:
    told: list[State] = []
    source = Platform()
    source.fail(Unavailable("no"))
    slow = SourceEntry(Path.parse("/#/slow"), "slow", 1, _Slow())
    async with Observatory([entry("/#/fake", source), slow], lambda _, state: told.append(state)) as sky:
        sky.want(USERS)
        sky.want(Path.parse("/#/slow/users"))
        await asyncio.sleep(0.5)
    assert len(asyncio.all_tasks()) == 1
    asked = len(source.asked)
    await asyncio.sleep(100)
    assert (len(source.asked), told) == (asked, [])


@virtual
async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    async def block() -> None:
        async with observatory(entry("/#/fake", Platform())) as sky:
            sky.want(USERS)
            await settle()
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await block()


@virtual
async def test_ten_thousand_names_cost_one_task_each_and_nothing_while_nothing_happens() -> None:
    source = Platform()
    async with observatory(entry("/#/fake", source)) as sky:
        names = [Path.parse(f"/#/fake/{number}") for number in range(10_000)]
        for name in names:
            sky.want(name)
        await settle()
        assert len(asyncio.all_tasks()) == 10_001
        assert all(isinstance(sky.state(name), Known) for name in names)
        before = len(source.asked)
        await asyncio.sleep(86_400)
        assert len(source.asked) == before
        for name in names:
            sky.release(name)
        await asyncio.sleep(10.1)
        assert source.open == 0


@virtual
async def test_full_reads_of_names_wanted_together_are_spread() -> None:
    source = Platform()
    async with observatory(entry("/#/fake", source, settings=Settings(resync=30))) as sky:
        for number in range(1000):
            sky.want(Path.parse(f"/#/fake/{number}"))
        await asyncio.sleep(34)
        seconds = [int(at) for at, _ in source.asked[1000:]]
        assert len(seconds) >= 1000
        assert max(seconds.count(second) for second in set(seconds)) < 150


@virtual
async def test_a_name_forgotten_from_within_its_own_change_is_gone() -> None:
    source = Platform()
    source.truth[Path(("users",))] = ONE

    def drop(name: Path, state: State) -> None:
        sky.release(name)

    async with Observatory([entry("/#/fake", source)], drop, linger=0.0) as sky:
        sky.want(USERS)
        await asyncio.sleep(1)
        assert source.open == 0
        assert sky.state(USERS) == Pending()
        source.state(Path(("users",)), Neg())


class _ReadAtOnce(Platform):
    """One read tells all names."""

    def __init__(self) -> None:
        super().__init__()
        self.reread_at: list[float] = []
        self.bug: Exception | None = None
        self.takes = 0.0

    async def reread(self, within: float) -> None:
        assert within == 30.0
        self.reread_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        if self.bug is not None:
            raise self.bug
        for name, addr in self.truth.items():
            self.say(name, addr)


@virtual
async def test_rule_3_a_source_of_which_one_read_tells_all_is_read_again_once_for_all_names() -> None:
    source = _ReadAtOnce()
    names = [Path((f"name-{number}",)) for number in range(100)]
    source.truth = dict.fromkeys(names, ONE)
    async with observatory(entry("/#/fake", source, settings=Settings())) as sky:
        for name in names:
            sky.want(FAKE.then(name))
        await asyncio.sleep(0.1)
        source.truth[names[7]] = up(2)
        await asyncio.sleep(299)
        assert 9 <= len(source.reread_at) <= 11
        assert len(source.asked) == 100
        state = sky.state(FAKE.then(names[7]))
        assert isinstance(state, Known)
        assert state.addr == up(2)


@virtual
async def test_a_bug_in_reading_all_again_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    source = _ReadAtOnce()
    source.bug = ValueError("a bug")
    async with observatory(entry("/#/fake", source, settings=Settings())):
        await asyncio.sleep(100)
    assert len(source.reread_at) >= 3
    assert "a source can't be read again" in caplog.text


@virtual
async def test_a_source_that_takes_long_to_read_is_read_more_seldom() -> None:
    source = _ReadAtOnce()
    source.takes = 6.0
    async with observatory(entry("/#/fake", source, settings=Settings())) as sky:
        sky.want(USERS)
        await asyncio.sleep(600)
    assert 4 <= len(source.reread_at) <= 6
