"""One read and one stream of events that serve every name of a platform.

Most platforms tell of all their names at once. What observes one of them is a `Feed`; `Shared` makes a `Source` of it:

    observe(name) ─▶ joins the run, which is started for the first ─▶ publishes `feed.addr(name)` after the first full
    read, after every later one, and whenever the feed says that its key has changed

A run lasts for as long as anything is observed. When it fails, every observation fails with its error, and the next
one starts another. Whoever observes a name that is observed already wants a second full read (`discovery.observing`
confirms a loss like that), so it is told only what a read begun after its question says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from types import TracebackType
from typing import Protocol, Self

from discovery.address import Addr
from discovery.path import Path
from discovery.source import Publish, SourceError, Unavailable


class Feed(Protocol):
    """What one platform tells of all its names."""

    async def run(self, told: Told) -> None:
        """Keeps `addr` true for as long as it runs, and says when it changes. It begins from nothing each time.

        Subscribe to events first; then, for ever: `await told.due()`, read everything, `told.all()`. Events go on to be
        heard meanwhile: each is `told.changed(key)`. A read says nothing of what it finds before `told.all()`: a list
        that has lost a service is one loss, not many small ones. Raises and returns as `observe` does; may raise a
        group.
        """
        ...

    def key(self, name: Path) -> Hashable:
        """What of the platform `name` depends on, as `told.changed` has it: several names may share a key."""
        ...

    def addr(self, name: Path) -> Addr:
        """What is true of `name` now. Called after the first `told.all()` of a run; may raise `SourceError`."""
        ...

    def names(self) -> Iterable[Path]:
        """Every name there is now."""
        ...


class _Watcher:
    __slots__ = ("after", "failed", "name", "publish")

    def __init__(self, name: Path, publish: Publish, after: int) -> None:
        self.name, self.publish, self.after = name, publish, after
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Told:
    """A run, as its feed sees it. Full reads are numbered: `_asked` ≥ `_begun` ≥ `_done`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._asked, self._begun, self._done = 1, 0, 0
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._readers: dict[asyncio.Future[None], int] = {}
        self._watchers: dict[Hashable, list[_Watcher]] = {}
        self.holders = 0
        """Who needs the run without watching a name."""
        self.task: asyncio.Task[None] | None = None
        self.ended = False
        self.error: Exception | None = None

    async def due(self) -> None:
        """Returns when a full read is wanted, the first time at once. What it then reads counts."""
        await self._wanted.wait()
        self._wanted.clear()
        self._begun = self._asked

    def all(self) -> None:
        """A full read is complete."""
        self._done = self._begun
        for watchers in list(self._watchers.values()):
            self._publish(watchers)
        for reader, number in list(self._readers.items()):
            if number <= self._done and not reader.done():
                reader.set_result(None)

    def changed(self, key: Hashable) -> None:
        """Something about `key` has changed. Before the first full read it is kept for that."""
        if self._done and key in self._watchers:
            self._publish(self._watchers[key])

    def _publish(self, watchers: list[_Watcher]) -> None:
        for watcher in list(watchers):
            if watcher.after <= self._done and not watcher.failed.done():
                self._tell(watcher)

    def _tell(self, watcher: _Watcher) -> None:
        try:
            watcher.publish(self._feed.addr(watcher.name))
        except Exception as error:  # noqa: BLE001 - it is this observation's, which raises it
            watcher.failed.set_exception(error)

    # Of `Shared` only

    @property
    def has_answered(self) -> bool:
        return self._done > 0

    @property
    def is_wanted(self) -> bool:
        return bool(self._watchers) or self.holders > 0

    def ask(self) -> int:
        """The number of a full read that begins after this."""
        self._asked = self._begun + 1
        self._wanted.set()
        return self._asked

    def join(self, name: Path, publish: Publish) -> _Watcher:
        watchers = self._watchers.setdefault(self._feed.key(name), [])
        again = any(watcher.name == name for watcher in watchers)
        watcher = _Watcher(name, publish, self.ask() if again else 1)
        watchers.append(watcher)
        if watcher.after <= self._done:
            self._tell(watcher)
        return watcher

    def leave(self, watcher: _Watcher) -> None:
        key = self._feed.key(watcher.name)
        self._watchers[key].remove(watcher)
        if watcher.failed.done() and not watcher.failed.cancelled():
            watcher.failed.exception()  # whoever was cancelled at the same time has not looked
        if not self._watchers[key]:
            del self._watchers[key]

    async def read(self, number: int) -> None:
        """Returns when the full read of that number is complete or the run has ended."""
        if number <= self._done or self.ended:
            return
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers[reader] = number
        try:
            await reader
        finally:
            del self._readers[reader]

    def end(self, error: Exception | None) -> None:
        self.ended, self.error = True, self.error or error
        for reader in self._readers:
            _finish(reader, None)
        for watcher in [each for watchers in self._watchers.values() for each in watchers]:
            _finish(watcher.failed, error)


class Shared:
    """`async with Shared(feed) as source`: the run lives within the block. `Source`, `Catalog` and `Rereads`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._group = asyncio.TaskGroup()
        self._run: Told | None = None
        self._last: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is not None:
            self._last.cancel()
        await self._group.__aexit__(None, None, None)

    async def observe(self, name: Path, publish: Publish) -> None:
        told = self._joined()
        watcher = told.join(name, publish)
        try:
            await watcher.failed
        finally:
            told.leave(watcher)
            self._leave(told)

    async def names(self) -> Iterable[Path]:
        told = self._joined()
        told.holders += 1
        try:
            await told.read(1)
            if not told.has_answered:
                raise told.error or Unavailable("the stream ended before its first answer")
            return list(self._feed.names())
        finally:
            told.holders -= 1
            self._leave(told)

    async def reread(self, within: float) -> None:
        told = self._run
        if told is None or told.ended or not told.is_wanted:
            return
        try:
            async with asyncio.timeout(within):
                await told.read(told.ask())
        except TimeoutError:
            told.end(Unavailable(f"a full read has had no answer for {within:g} s"))
            self._stop(told)

    def _joined(self) -> Told:
        if self._run is None or self._run.ended:
            self._run = Told(self._feed)
            self._run.task = self._last = self._group.create_task(self._keep(self._run, self._last))
        return self._run

    async def _keep(self, told: Told, before: asyncio.Task[None] | None) -> None:
        """The run as a task that never fails. `before`: the run that this one follows has to be over."""
        if before is not None and not before.done():
            await asyncio.wait({before})
        try:
            await self._feed.run(told)
        except Exception as error:  # noqa: BLE001 - handed to the observations, which raise it
            told.end(_unwrapped(error))
        finally:
            told.end(None)

    def _leave(self, told: Told) -> None:
        if not told.is_wanted:
            self._stop(told)

    @staticmethod
    def _stop(told: Told) -> None:
        told.ended = True
        if told.task is not None:
            told.task.cancel()


def _finish(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _unwrapped(error: Exception) -> Exception:
    """Of what a group of tasks raised: a bug before what the platform said."""
    if not isinstance(error, ExceptionGroup):
        return error
    each = [_unwrapped(one) for one in error.exceptions]
    return next((one for one in each if not isinstance(one, SourceError)), each[0])
