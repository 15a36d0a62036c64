"""Every name is bound anew after a change of the table, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio

from discovery.path import Path
from mesh.agent.binder import Limits
from mesh.agent.rebinding import Rebinding
from mesh.naming.dtab import parse_dtab
from mesh.naming.trace import Step
from tests.binding import World, at, world

NAMES = 3_000


async def bound(it: World) -> None:
    it.one.truth = {Path((f"n{number}",)): at(1) for number in range(NAMES)}
    it.two.truth = {Path((f"n{number}",)): at(2) for number in range(NAMES)}
    for number in range(NAMES):
        it.ask(f"n{number}")
    while not all(name.published for name in it.binder.names):  # noqa: ASYNC110 - until all have answered
        await asyncio.sleep(0)


async def test_all_names_follow_the_table_and_others_have_their_turns() -> None:
    async with world("/svc => /#/one", limits=Limits(refused=2 * NAMES)) as it, asyncio.TaskGroup() as tasks:
        await bound(it)
        done = asyncio.Event()
        again = Rebinding(it.binder, done.set)
        keeping = tasks.create_task(again.keep())
        it.binder.dtab = parse_dtab("/svc => /#/two")
        again.all()
        turns = 0
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 10
        while len(it.clusters()) < 2 * NAMES:  # noqa: ASYNC110 - until the second source has answered for all
            await asyncio.sleep(0)
        assert all(it.leads_to(f"n{number}") == {f"/#/two/n{number}": 1} for number in range(NAMES))
        keeping.cancel()


async def test_no_name_waits_for_ever_while_tables_follow_each_other() -> None:
    async with world("/svc => /#/one", limits=Limits(refused=2 * NAMES)) as it, asyncio.TaskGroup() as tasks:
        await bound(it)
        last = it.binder.names.get(("http", f"n{NAMES - 1}"))
        assert last is not None
        again = Rebinding(it.binder, lambda: None)
        keeping = tasks.create_task(again.keep())
        before = last.binding
        it.binder.dtab = parse_dtab("/svc => /#/one ; /other => /x")
        while last.binding is before:
            again.all()
            await asyncio.sleep(0)
        keeping.cancel()


async def test_a_name_that_is_dropped_meanwhile_is_not_bound_again() -> None:
    async with world("/svc => /#/one") as it, asyncio.TaskGroup() as tasks:
        it.one.truth[Path(("users",))] = at(1)
        name = it.ask("users")
        done = asyncio.Event()
        again = Rebinding(it.binder, done.set)
        again.all()
        it.binder.drop(name)
        keeping = tasks.create_task(again.keep())
        await done.wait()
        assert it.leads_to("users") == {}
        keeping.cancel()


async def test_names_that_another_table_can_not_touch_are_not_bound_again() -> None:
    async with world("/svc => /#/one") as it, asyncio.TaskGroup() as tasks:
        it.one.truth = it.two.truth = {Path((name,)): at(1) for name in ("users", "cart")}
        for name in ("users", "cart"):
            it.ask(name)
        while not all(name.published for name in it.binder.names):  # noqa: ASYNC110 - until both have answered
            await asyncio.sleep(0)
        done = asyncio.Event()
        again = Rebinding(it.binder, done.set)
        keeping = tasks.create_task(again.keep())
        before = _ways(it)
        it.binder.dtab = parse_dtab("/svc => /#/one; /svc/users => /#/two/users; /other => /x")
        again.touched()
        await done.wait()
        while it.leads_to("users") != {"/#/two/users": 1}:  # noqa: ASYNC110 - until the second source has answered
            await asyncio.sleep(0)
        assert [one is other for one, other in zip(before, _ways(it), strict=True)] == [False, True]
        before = _ways(it)
        done.clear()
        again.all()
        again.touched()
        await done.wait()
        assert not any(one is other for one, other in zip(before, _ways(it), strict=True))
        keeping.cancel()


def _ways(it: World) -> list[Step | None]:
    return [name.binding and name.binding.trace for name in it.binder.names]
