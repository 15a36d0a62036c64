"""A preview over what the control plane observes: what the new table asks for and the old one didn't is observed first.

A name is looked at in a slice of others, so that the process goes on with its other work. Every name is bound over the
same observations: what has once been read is not read again, but for what had no answer yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from discovery.path import Path
from mesh.agent.asking import Asking
from mesh.control.effect import Effect, Rules, Unknown, Use
from mesh.control.foresight import Foresight
from mesh.control.preview import Preview, summary, weighed
from mesh.naming.bind import Options

SLICE = 50
"""Names."""


@dataclass(frozen=True, slots=True)
class Previewing:
    asking: Asking
    options: Options

    async def preview(self, uses: Sequence[Use], before: Rules, after: Rules, limit: float | None = None) -> Preview:
        """`limit`: more than this share of the requests is refused, 0 to 1; None: nothing is."""
        uses, measured = weighed(uses)
        foresight = Foresight(before, after, self.options, self.asking.observatory.state)
        found: list[Effect | Unknown] = []
        with self.asking.question() as question:
            rest, until = uses, self.asking.until()
            while rest:
                effects = await _all_of(foresight, rest)
                unknown = [each for each in effects if isinstance(each, Unknown)]
                waited_for = frozenset[Path]().union(*(each.waits_for for each in unknown))
                if not question.want(waited_for):
                    found += effects
                    break
                rest = _uses(unknown)
                again = set(map(id, rest))
                found += [each for each in effects if id(each.use) not in again]
                await question.answered(waited_for, until)
                foresight.learn(waited_for)
        return summary(uses, found, measured=measured, limit=limit)


async def _all_of(foresight: Foresight, uses: Sequence[Use]) -> list[Effect | Unknown]:
    effects: list[Effect | Unknown] = []
    for at in range(0, len(uses), SLICE):
        effects += [effect for use in uses[at : at + SLICE] for effect in foresight.of(use)]
        await asyncio.sleep(0)
    return effects


def _uses(unknown: Sequence[Unknown]) -> list[Use]:
    return list({id(each.use): each.use for each in unknown}.values())
