"""The addresses of agents that Marathon knows by their host names. Kept for as long as the answer is good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from discovery.dns.resolver import Resolve
from discovery.source import Unavailable

AT_ONCE = 32

_Known = tuple[tuple[str, ...], float]


class Hosts:
    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._known: dict[str, _Known | Unavailable] = {}

    async def learn(self, names: Iterable[str]) -> None:
        """Those that are not known, or not any more. That one can't be resolved is told by `addresses`."""
        now = asyncio.get_running_loop().time()
        due = [name for name in names if not self._is_good(name, now)]
        free = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for name in due:
                group.create_task(self._learn(name, free))

    def addresses(self, names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """Raises Unavailable: a name without an answer must not shrink what is known."""
        found = {}
        for name in names:
            known = self._known.get(name, Unavailable(f"{name} has not been resolved yet"))
            if isinstance(known, Unavailable):
                raise Unavailable(str(known))
            found[name] = known[0]
        return found

    def forget(self, names: set[str]) -> None:
        """All but these."""
        self._known = {name: known for name, known in self._known.items() if name in names}

    def _is_good(self, name: str, now: float) -> bool:
        known = self._known.get(name)
        return isinstance(known, tuple) and now < known[1]

    async def _learn(self, name: str, free: asyncio.Semaphore) -> None:
        async with free:
            try:
                addresses, seconds = await self._resolve(name)
            except Unavailable as error:
                self._known[name] = error
                return
        self._known[name] = addresses, asyncio.get_running_loop().time() + seconds
