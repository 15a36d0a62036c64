"""A name that another table can't touch is not bound again, and is served as if it had been."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mesh.agent.sparing import Sparing
from mesh.control.effect import Rules
from mesh.naming.bind import STEPS, Binding, Broken
from mesh.naming.dtab import parse_dtab
from tests.binding import at, world
from tests.mesh.control import changing
from tests.virtual_time import settle, virtual

WORLDS = 6
PER_WORLD = 30
TABLES = 5


@virtual
async def test_what_is_spared_is_what_a_binder_would_bind_by_the_table_in_force() -> None:
    rng = random.Random(3)
    spared = followed = 0
    async with changing.world(rng) as here:
        for _ in range(WORLDS):
            await here.shuffle(rng)
            for _ in range(PER_WORLD):
                some, more = _follows(rng, here)
                spared, followed = spared + some, followed + more
    assert followed / 10 < spared < followed * 4 / 5, (spared, followed)


def _follows(rng: random.Random, here: changing.World) -> tuple[int, int]:
    """How many names were spared, of how many. Not every name comes to its turn before the next table."""
    rules, _ = changing.rules(rng)
    options = rng.choice(changing.OPTIONS)
    ads, binder = changing.binder_of(here, rules, options)
    names = {path: binder.ask(("http", path[-1]), path) for path in changing.NAMES}
    spared = followed = 0
    for _ in range(TABLES):
        binder.dtab = changing.changed(rng, binder.dtab) if len(binder.dtab) else changing.table(rng)
        turns = [path for path in names if rng.random() < 0.7]
        for path in turns:
            name, before = names[path], binder.binds
            assert name is not None
            binder.follow(name)
            followed += 1
            spared += binder.binds == before
        with changing.binding(here, Rules(binder.dtab, rules.policies), options) as made:
            for path in turns:
                name, other = names[path], made[path]
                assert name is not None
                why = f"{path}: {rules.dtab.show()} ... {binder.dtab.show()}"
                assert _ended(name.binding) == _ended(other.name.binding), why
                assert [_ended(each.binding) for each in name.copies] == [
                    _ended(each.binding) for each in other.name.copies
                ], why
                assert name.wanted == other.name.wanted, why
                assert changing.told(ads, path[-1]) == other.shares, why
    for name in names.values():
        assert name is not None
        binder.drop(name)
    return spared, followed


def _ended(binding: Binding | None) -> object:
    """Of what can't be bound, not why: the reason may name another step."""
    assert binding is not None
    return "broken" if isinstance(binding.tree, Broken) else binding.tree, binding.grade, binding.wanted


@virtual
async def test_a_name_that_waits_its_turn_is_compared_with_the_table_it_is_bound_by() -> None:
    """The table in force is the first one again, when it comes; in between the name was bound by another."""
    async with world("/svc => /#/one") as it:
        it.one.truth = it.two.truth = {changing.Path(("users",)): at(1)}
        name = it.ask("users")
        await settle()
        first, second = it.binder.dtab, parse_dtab("/svc => /#/two")
        it.binder.dtab = second
        it.binder.rebind(name)
        await settle()
        it.binder.dtab = first
        it.binder.follow(name)
        await settle()
        assert set(it.leads_to("users")) == {"/#/one/users"}


@virtual
@pytest.mark.parametrize("left", [0, 100])
async def test_what_changes_add_to_a_walk_adds_up_until_the_name_is_bound_again(left: int) -> None:
    async with world("/svc => /#/one") as it:
        it.one.truth = {changing.Path(("users",)): at(1)}
        name = it.ask("users")
        await settle()
        assert name.binding is not None
        name.binding = replace(name.binding, spent=STEPS - left)
        assert Sparing().spares(name, parse_dtab("/svc => /#/one; /other => /#/two")) == bool(left)
        assert name.binding.spent > STEPS - left or not left


@virtual
async def test_a_refusal_tells_the_lines_of_the_table_in_force() -> None:
    async with world("/svc => !") as it:
        name = it.ask("users")
        await settle()
        it.binder.dtab = parse_dtab("/other => /#/one;\n/svc => !")
        it.binder.follow(name)
        assert "line 2" in str(it.binder.refusal(name))
