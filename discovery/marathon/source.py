"""All apps of one Marathon: attached to the events first, then the list, then the apps that events speak of.

    attach ─▶ read all ─▶ told.all()          at once, when a full read is wanted, and when a group has changed
       └────▶ event ─▶ ask for that app ─▶ told.changed(app)

A stream that ends is attached to anew, at the next master, and all is read again: events have no ids to go on from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from discovery.address import Addr, Neg
from discovery.marathon import records
from discovery.marathon.api import Api
from discovery.marathon.doubts import Doubts
from discovery.marathon.events import Anything, Changed, Ended, Meaning, Posted, Regrouped, Starting, meaning
from discovery.marathon.fleet import Fleet
from discovery.marathon.hosts import Hosts
from discovery.marathon.pending import Pending
from discovery.marathon.ports import Rules
from discovery.marathon.records import Entry, Malformed, Unusable
from discovery.marathon.sse import Event
from discovery.marathon.stream import Stream
from discovery.path import Path
from discovery.shared import Told
from discovery.source import Unavailable

ASKED_AT_ONCE = 4
STEADY_SECONDS = 1.0
"""A stream that ends sooner is not attached to again at once."""
READING_SHARE = 20.0
"""Full reads that events ask for take one part in so many of our time."""
RESTING_SHARE = 3.0
"""An app that changes all the time is asked for one part of the time, and rests for so many."""
UNASKABLE = frozenset({"tasks", "versions", "restart"})
"""`/v2/apps/<id>` means something else where the id ends like this."""


class MarathonFeed:
    def __init__(self, api: Api, hosts: Hosts, rules: Rules) -> None:
        self._api, self._hosts, self._rules = api, hosts, rules
        self._fleet, self._pending = Fleet({}), Pending()
        self._doubts = Doubts()
        self._patience: asyncio.Timeout | None = None
        """Of who waits for the next full read."""

    # Feed

    def key(self, name: Path) -> Path:
        return name

    def addr(self, name: Path) -> Addr:
        entry = self._fleet.apps.get(name)
        if entry is None:
            return Neg()
        if isinstance(entry, Unusable):
            raise entry.error(entry.reason)
        return records.addr(entry, self._hosts.addresses(records.host_names(entry)))

    def names(self) -> Iterable[Path]:
        return list(self._fleet.apps)

    async def run(self, told: Told) -> None:
        self._fleet, self._pending = self._fleet.successor(), Pending()
        loop = asyncio.get_running_loop()
        await told.due()
        while True:
            async with self._api.events() as stream:
                since = loop.time()
                await self._follow(stream, told)
            self._api.masters.turn()
            if loop.time() - since < STEADY_SECONDS:
                return

    async def _follow(self, stream: Stream, told: Told) -> None:
        """Until the stream ends."""
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self._read_again_and_again(stream, told))]
            others += [group.create_task(self._ask_for_apps(told)) for _ in range(ASKED_AT_ONCE)]
            while (heard := await stream.events()) is not None:
                for event in heard:
                    self._heard(event, told)
            for task in others:
                task.cancel()

    # Full reads

    async def _read_again_and_again(self, stream: Stream, told: Told) -> None:
        await self._read_all()
        told.all()
        while True:
            await self._due(told)
            leader = await self._read_all()
            told.all()
            if leader and stream.leader and leader != stream.leader:
                # What we hear are the events of a former leader, or none.
                stream.close()
                return

    async def _read_all(self) -> str:
        """Who leads, if it is said."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        self._doubts.dispel()
        self._fleet.asks_all()
        reply = await self._api.all_apps()
        apps: dict[Path, Entry] = {}
        names: set[str] = set()
        try:
            for path, entry in records.apps(reply.body or b"", self._rules):
                apps[path] = entry
                names |= records.host_names(entry)
                # 100,000 tasks take more than a second: others go on meanwhile.
                await asyncio.sleep(0)
        except Malformed as error:
            raise self._nonsense("/v2/apps", error) from error
        await self._hosts.learn(names)
        self._hosts.forget(names)
        self._fleet.answered_all(apps)
        self._doubts.not_before = loop.time() + READING_SHARE * (loop.time() - since)
        return reply.leader

    async def _due(self, told: Told) -> None:
        """Returns when somebody wants a full read, or when what events left open has to be read."""
        try:
            async with asyncio.timeout_at(self._doubts.due) as self._patience:
                await told.due()
        except TimeoutError:
            return
        finally:
            self._patience = None

    # Single apps

    async def _ask_for_apps(self, told: Told) -> None:
        loop, pending = asyncio.get_running_loop(), self._pending
        while True:
            path = await pending.take()
            since = loop.time()
            await self._read_app(path)
            told.changed(path)
            loop.call_later(RESTING_SHARE * (loop.time() - since), pending.done, path)

    async def _read_app(self, path: Path) -> None:
        self._fleet.asks(path)
        reply = await self._api.app(path)
        if reply.body is None:
            self._fleet.answered(path, None)
            return
        try:
            entry = records.app(reply.body, path, self._rules)
        except Malformed as error:
            raise self._nonsense(f"/v2/apps{path.show()}", error) from error
        await self._hosts.learn(records.host_names(entry))
        self._fleet.answered(path, entry)

    def _nonsense(self, where: str, error: Malformed) -> Unavailable:
        self._api.masters.turn()
        return Unavailable(f"Marathon's answer to {where} makes no sense: {error}")

    # Events

    def _heard(self, event: Event, told: Told) -> None:
        try:
            meant = meaning(event)
        except Malformed as error:
            raise self._nonsense("/v2/events", error) from error
        self._take(meant, told, asyncio.get_running_loop().time())
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._doubts.due)

    def _take(self, meant: Meaning, told: Told, now: float) -> None:
        match meant:
            case Changed(apps):
                for path in apps:
                    self._ask_for(path, now)
            case Posted(path):
                self._doubts.posted(now)
                self._ask_for(path, now)
            case Ended(path, task, draining):
                if self._fleet.ended(path, task, draining=draining):
                    told.changed(path)
                self._ask_for(path, now)
            case Starting(path):
                if path not in self._fleet.apps:
                    self._ask_for(path, now)
            case Regrouped():
                self._doubts.regrouped(now)
            case Anything():
                self._doubts.anything(now)

    def _ask_for(self, path: Path, now: float) -> None:
        if path[-1] in UNASKABLE:
            self._doubts.anything(now)
        else:
            self._pending.add(path)
