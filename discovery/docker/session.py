"""One session with a daemon: subscribe to events, list, ask about single containers where an event does not say enough.

What an event says is later than any answer that was asked for before it. Such an answer about the container is not
believed: it is asked about again, or, where it was in a list, what is known of it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from discovery.docker import events, records
from discovery.docker.api import Api, Server, Slow
from discovery.docker.events import Event, Kind
from discovery.docker.fleet import Fleet
from discovery.docker.questions import Questions
from discovery.docker.records import Container, State
from discovery.docker.threads import Threads
from discovery.shared import Told

T = TypeVar("T")

ASKED_AT_ONCE = 4
"""Containers. One that dockerd itself waits for holds up none of the others."""


@dataclass(slots=True)
class Session:
    api: Api
    threads: Threads
    server: Server
    fleet: Fleet
    told: Told
    timeout: float
    stopping: float
    """Seconds for which a container that was sent its stop signal is believed to obey."""
    _questions: Questions = field(default_factory=Questions)
    _heard: dict[str, Event] | None = None
    """The last event of each container since the list was asked for; None while nobody waits for a list."""
    _stopping_until: dict[str, float] = field(default_factory=dict)
    _signals: dict[str, Event] = field(default_factory=dict)
    """Signals of which only the container's own stop signal says what they mean."""

    async def run(self, before_each_read: Callable[[], Awaitable[None]]) -> None:
        """Returns when the daemon ends its stream of events."""
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[None] = loop.create_future()

        def answers() -> None:
            loop.call_soon_threadsafe(_finish, begun)

        def heard(event: Event) -> None:
            loop.call_soon_threadsafe(self.hear, event)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._answer()) for _ in range(ASKED_AT_ONCE)]
            tasks.append(group.create_task(self._read(begun, before_each_read)))
            await self.threads.run(partial(self.api.events, self.server.clock, answers, heard))
            for task in tasks:
                task.cancel()

    def hear(self, event: Event) -> None:
        self._questions.spoil(event.id)
        if self._heard is not None:
            self._heard[event.id] = event
        container = self.fleet.get(event.id)
        if event.kind is Kind.GONE:
            self._remove(event.id)
        elif container is not None:
            self._apply(container, event)
        elif event.named:
            self._questions.ask(event.id)

    def _apply(self, container: Container, event: Event) -> None:
        if event.kind is Kind.SIGNAL and container.state is not State.STOPPED:
            if events.ends(container, event):
                self._stopping_until[container.id] = asyncio.get_running_loop().time() + self.stopping
            else:
                self._signals[container.id] = event
        elif event.kind in (Kind.ASK, Kind.DIED):
            self._stopping_until.pop(container.id, None)
        after = events.after(container, event)
        if after is None:
            self._questions.ask(container.id)
        else:
            self._put(after)

    async def _read(self, begun: asyncio.Future[None], before_each: Callable[[], Awaitable[None]]) -> None:
        await self._in_time(begun, "/events")
        while True:
            await self.told.due()
            await before_each()
            self._heard = {}
            listed = await self._in_time(self.threads.run(self.api.containers), "/containers/json")
            await self._questions.all_answered(self._merge(listed))
            self.told.all()

    def _merge(self, listed: list[Container]) -> list[str]:
        """Those that have to be asked about before all is known.

        Nothing is told here: a list that has lost a whole service is one loss and not many small ones.
        """
        heard, self._heard = self._heard or {}, None
        now = asyncio.get_running_loop().time()
        self._stopping_until = {id: until for id, until in self._stopping_until.items() if until > now}
        for id in self.fleet.ids() - {container.id for container in listed} - heard.keys():
            self._forget(id)
        unclear = []
        for container in listed:
            id, event = container.id, heard.get(container.id)
            known = self.fleet.get(id)
            if event is not None and (known is not None or event.kind is Kind.GONE):
                continue
            if self._is_clear(container):
                if known is None:
                    self.fleet.put(self._as_asked_to_stop(container))
                elif id not in self._questions:
                    # Which no list tells.
                    container = replace(container, stop_signal=known.stop_signal)
                    self.fleet.put(self._as_asked_to_stop(container))
                continue
            unclear.append(id)
            self._questions.ask(id)
        return unclear

    def _is_clear(self, container: Container) -> bool:
        if container.state is State.STOPPED:
            return True
        return self.server.lists_health and records.tells_all(container)

    async def _answer(self) -> None:
        while True:
            id = await self._questions.next()
            container = await self._container(id)
            if not self._questions.answered(id):
                continue
            signal = self._signals.pop(id, None)
            if container is None:
                self._remove(id)
                continue
            if signal is not None and events.ends(container, signal):
                self._stopping_until[id] = asyncio.get_running_loop().time() + self.stopping
            self._put(container)

    async def _container(self, id: str) -> Container | None:
        """From the list where the container itself is stuck: dockerd then answers about it no more, and lists it."""
        try:
            return await self._in_time(self.threads.run(partial(self.api.container, id)), f"/containers/{id[:12]}/json")
        except Slow:
            listed = await self._in_time(self.threads.run(partial(self.api.containers, (id,))), "/containers/json")
            return next(iter(listed), None)

    def _put(self, container: Container) -> None:
        if self.fleet.put(self._as_asked_to_stop(container)):
            self.told.changed(container.key)

    def _as_asked_to_stop(self, container: Container) -> Container:
        is_asked = container.state is not State.STOPPED and container.id in self._stopping_until
        return replace(container, draining=True) if is_asked else container

    def _remove(self, id: str) -> None:
        removed = self._forget(id)
        if removed is not None:
            self.told.changed(removed.key)

    def _forget(self, id: str) -> Container | None:
        self._stopping_until.pop(id, None)
        self._signals.pop(id, None)
        return self.fleet.remove(id)

    async def _in_time(self, answer: Awaitable[T], path: str) -> T:
        """The SDK's own time-outs are for every single packet."""
        try:
            async with asyncio.timeout(self.timeout):
                return await answer
        except TimeoutError as error:
            raise Slow(f"Docker has not answered {path} within {self.timeout:g} s") from error


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
