"""The addresses of host names that slices and ExternalName services hold, asked for again when their time is over.

One that can't be resolved concerns who uses it, and nobody else: nor does one that takes long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from discovery.dns.resolver import Resolve
from discovery.kubernetes.records import Key
from discovery.source import Unavailable

AT_ONCE = 32
AGAIN_SECONDS = 5.0
"""After a failure. Who observes such a name is told as soon as it has an answer."""

_Answer = tuple[str, ...] | str
"""Addresses, or why there are none."""


class Hosts:
    def __init__(self, resolve: Resolve, changed: Callable[[Key], None]) -> None:
        self._resolve, self._changed = resolve, changed
        self._users: dict[str, set[Key]] = {}
        self._uses: dict[Key, frozenset[str]] = {}
        self._answers: dict[str, _Answer] = {}
        self._due: dict[str, float] = {}
        """When a host is asked for; those that are being asked for are not in it."""
        self._news, self._answered = asyncio.Event(), asyncio.Event()

    def use(self, key: Key, hosts: Iterable[str]) -> None:
        """From now on `key` uses these, and none else."""
        before, after = self._uses.get(key, frozenset()), frozenset(hosts)
        if before == after:
            return
        for host in before - after:
            self._leave(key, host)
        for host in after - before:
            self._users.setdefault(host, set()).add(key)
            if host not in self._answers:
                self._due.setdefault(host, 0.0)
                self._news.set()
        self._uses[key] = after
        if not after:
            del self._uses[key]

    def keys(self) -> list[Key]:
        """Those that use any."""
        return list(self._uses)

    def knows(self, key: Key) -> bool:
        """Whether all that it uses have been answered."""
        return self._uses.get(key, frozenset()) <= self._answers.keys()

    def addresses(self, host: str) -> tuple[str, ...]:
        """Raises Unavailable."""
        answer = self._answers.get(host, f"{host} has not been resolved yet")
        if isinstance(answer, str):
            raise Unavailable(answer)
        return answer

    async def settled(self, within: float) -> None:
        """Returns when all that are used have been answered, and anyway after so many seconds."""
        try:
            async with asyncio.timeout(within):
                while not self._users.keys() <= self._answers.keys():
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        free = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                now = loop.time()
                for host in [host for host, at in self._due.items() if at <= now]:
                    del self._due[host]
                    group.create_task(self._ask(host, free))
                await self._sleep_until(min(self._due.values(), default=None))

    async def _sleep_until(self, when: float | None) -> None:
        try:
            async with asyncio.timeout_at(when):
                await self._news.wait()
        except TimeoutError:
            return

    async def _ask(self, host: str, free: asyncio.Semaphore) -> None:
        answer: _Answer
        async with free:
            try:
                answer, seconds = await self._resolve(host)
            except Unavailable as error:
                answer, seconds = str(error), AGAIN_SECONDS
        if host not in self._users:
            return
        self._due[host] = asyncio.get_running_loop().time() + seconds
        self._news.set()
        is_news = self._answers.get(host) != answer
        self._answers[host] = answer
        self._answered.set()
        if is_news:
            for key in list(self._users[host]):
                if self.knows(key):
                    self._changed(key)

    def _leave(self, key: Key, host: str) -> None:
        users = self._users[host]
        users.discard(key)
        if not users:
            del self._users[host]
            self._answers.pop(host, None)
            self._due.pop(host, None)
