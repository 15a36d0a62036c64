"""What a question wants is observed as long as it lasts, so that names nobody calls can be explained."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from discovery.address import Pending
from discovery.observatory import Observatory
from discovery.path import Path
from mesh.naming.bind import Binding

PAUSE_SECONDS = 0.02
"""Answers that come one after the other are looked at together."""


class Question:
    def __init__(self, observatory: Observatory) -> None:
        self._observatory = observatory
        self._change = asyncio.Event()
        self._wanted: set[Path] = set()

    def on_state(self, path: Path | None = None) -> None:
        """None: anything may have changed."""
        if path is None or path in self._wanted:
            self._change.set()

    async def changed(self) -> None:
        """Returns when something it wants has changed since it last looked."""
        await self._change.wait()

    async def settled(self, walk: Callable[[], Binding], until: float) -> Binding:
        """`walk`, again and again, until all it wants has an answer; at `until` (the loop's time) as far as it is."""
        while True:
            self._change.clear()
            binding = walk()
            fresh = self.want(binding.wanted)
            pending = self._pending(binding.wanted)
            if not pending and not fresh:
                return binding
            if pending and not fresh and not await self._changed(until):
                return binding

    async def answered(self, names: Iterable[Path], until: float) -> None:
        """Returns when every one of them has an answer, or at `until`."""
        self.want(names)
        left = self._pending(names)
        while left and await self._changed(until):
            await asyncio.sleep(PAUSE_SECONDS)
            self._change.clear()
            left = self._pending(left)

    def want(self, names: Iterable[Path]) -> bool:
        """Whether one of them is new."""
        fresh = set(names) - self._wanted
        for name in fresh:
            self._observatory.want(name)
        self._wanted |= fresh
        return bool(fresh)

    def release(self) -> None:
        for name in self._wanted:
            self._observatory.release(name)
        self._wanted.clear()

    def _pending(self, names: Iterable[Path]) -> list[Path]:
        return [name for name in names if isinstance(self._observatory.state(name), Pending)]

    async def _changed(self, until: float) -> bool:
        try:
            async with asyncio.timeout_at(until):
                await self._change.wait()
        except TimeoutError:
            return False
        return True


@dataclass(slots=True)
class Asking:
    """Whoever hears of changes at the observatory calls `on_state`."""

    observatory: Observatory
    patience_seconds: float
    _open: set[Question] = field(default_factory=set)

    def on_state(self, path: Path | None = None) -> None:
        for question in self._open:
            question.on_state(path)

    @contextmanager
    def question(self) -> Iterator[Question]:
        question = Question(self.observatory)
        self._open.add(question)
        try:
            yield question
        finally:
            self._open.discard(question)
            question.release()

    def until(self, seconds: float | None = None) -> float:
        """`seconds`: instead of the usual patience."""
        return asyncio.get_running_loop().time() + (self.patience_seconds if seconds is None else seconds)
