"""One observation in an observatory, for tests: what it says and when it said so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from discovery.address import Bound, Endpoint, Known, State, bound
from discovery.observatory import Observatory, SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.source import Source
from tests.fakes.memory import Platform

ROOT = Path(("#", "fake"))
USERS = Path(("users",))
NAME = ROOT.then(USERS)


def up(*numbers: int) -> Bound:
    return bound(Endpoint(f"10.0.0.{number}", 80) for number in numbers)


@dataclass
class Seen:
    observatory: Observatory
    changes: list[tuple[float, State]] = field(default_factory=list)

    @property
    def state(self) -> State:
        return self.observatory.state(NAME)

    @property
    def known(self) -> Known:
        assert isinstance(self.state, Known)
        return self.state

    @property
    def held(self) -> str:
        assert self.known.held is not None
        return self.known.held


@asynccontextmanager
async def observing(
    source: Source, settings: Settings | None = None, restored: Known | None = None, seed: int = 1
) -> AsyncIterator[Seen]:
    loop = asyncio.get_running_loop()
    entry = SourceEntry(ROOT, "fake", 1, source, settings or Settings())
    observatory = Observatory(
        [entry],
        lambda _, state: seen.changes.append((loop.time(), state)),
        restored={NAME: restored} if restored else None,
        clock=lambda: loop.time() + 1000,
        rng=random.Random(seed),
    )
    seen = Seen(observatory)
    async with observatory:
        observatory.want(NAME)
        yield seen


def platform(*numbers: int) -> Platform:
    made = Platform()
    made.truth[USERS] = up(*numbers)
    return made
