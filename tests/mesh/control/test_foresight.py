"""What the preview says is what happens."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest

from mesh.control.effect import Effect, Use, View
from mesh.control.foresight import Foresight, shown
from mesh.naming.bind import Binding, Broken
from mesh.naming.explain import OUTCOMES
from tests.mesh.control import changing
from tests.mesh.control.changing import NAMERS, NAMES, OPTIONS, Made, World
from tests.virtual_time import virtual

CHANGES = 1_000
PER_WORLD = 50


@virtual
async def test_over_random_changes_what_is_foreseen_is_what_binders_bind() -> None:
    rng = random.Random(5)
    said: Counter[str] = Counter()
    async with changing.world(rng) as here:
        for number in range(CHANGES):
            if number % PER_WORLD == 0:
                await here.shuffle(rng)
            said += Counter(_one_change(rng, here))
    # The changes were such that there was something to foresee.
    assert min(said["bound -> bound"], said["bound -> neg"], said["same"], said["settings"], said["copies"]) > 20, said
    assert min(said[f"{one} -> bound"] for one in ("neg", "empty", "fail", "broken")) > 20, said


def _one_change(rng: random.Random, here: World) -> list[str]:
    before, after = changing.rules(rng)
    options = rng.choice(OPTIONS)
    view = View(NAMERS)
    foresight = Foresight(before, after, options, here.observatory.state)
    foreseen = {path: foresight.of(Use("http", path, {view: 1.0})) for path in NAMES}
    with changing.binding(here, before, options) as was, changing.binding(here, after, options) as becomes:
        why = f"{before.dtab.show()} -> {after.dtab.show()}"
        return [_compared(foreseen[path], was[path], becomes[path], f"{path}: {why}") for path in NAMES]


def _compared(foreseen: list[object], was: Made, becomes: Made, why: str) -> str:
    one, other = was.name.binding, becomes.name.binding
    assert one is not None
    assert other is not None
    copies = [[each.tree for each in bound.name.copies] for bound in (was, becomes)]
    if _same(one, other):
        effects = [each for each in foreseen if isinstance(each, Effect)]
        assert all(each.before == each.after and each.moves == 0 for each in effects), why
        assert effects or copies[0] == copies[1], why
        return "copies" if copies[0] != copies[1] else "settings" if effects else "same"
    (effect,) = foreseen
    assert isinstance(effect, Effect), why
    assert (effect.before.tree, effect.after.tree) == (shown(one), shown(other)), why
    assert effect.before.outcome == OUTCOMES[one.grade], why
    assert effect.after.outcome == OUTCOMES[other.grade], why
    # Envoy's weights are rounded to one in a million.
    assert effect.moves == pytest.approx(float(_moved(was.shares, becomes.shares)), abs=1e-5), why
    return f"{effect.before.outcome} -> {effect.after.outcome}"


def _same(one: Binding, other: Binding) -> bool:
    if isinstance(one.tree, Broken) and isinstance(other.tree, Broken):
        return True
    return (one.tree, one.grade) == (other.tree, other.grade)


def _moved(before: dict[str, Fraction], after: dict[str, Fraction]) -> Fraction:
    """Of requests that are answered without a service, none."""
    before, after = before or {"": Fraction(1)}, after or {"": Fraction(1)}
    return sum((max(Fraction(0), share - after.get(to, Fraction(0))) for to, share in before.items()), Fraction(0))
