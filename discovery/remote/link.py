"""The agent's end of the stream: connects to one of several replicas, and to another one whenever that fails.

    connecting ──welcome──▶ connected ──close, error, silence──▶ connecting (the next replica, after a pause)

What is known stays known while there is no stream. It is called held when that lasts for longer than `grace`, so that
a control plane that is restarted changes no state of ten thousand names to and fro.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
from yarl import URL

from discovery.path import Path
from discovery.remote.dialling import Dialling, Ended, Pace, Socket, said, shown, unreadable
from discovery.remote.frames import (
    PROTOCOL,
    FromControl,
    Hello,
    Observation,
    Refused,
    Same,
    Sources,
    Status,
    Table,
    Welcome,
)
from discovery.remote.reading import BadFrame, path
from discovery.remote.relay import Relay

logger = logging.getLogger("tieline.link")


@dataclass(frozen=True, slots=True)
class Standing:
    """`since`: seconds since the epoch. `url`, `replica`: who it is connected to. `reason`: why it is to nobody."""

    since: float
    url: str | None = None
    replica: str = ""
    reason: str | None = None

    @property
    def connected(self) -> bool:
        return self.url is not None


Told = TypeVar("Told", Table, Sources, Standing)


class Link:
    """`run` for as long as there is an agent. The callbacks are synchronous; what they raise is logged as a bug."""

    def __init__(
        self,
        urls: Sequence[str],
        dialling: Dialling,
        *,
        hello: Callable[[], Hello],
        on_table: Callable[[Table], None],
        on_sources: Callable[[Sources], None],
        on_standing: Callable[[Standing], None] = lambda _: None,
        rng: random.Random,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not urls:
            raise ValueError("a link needs a control plane's URL")
        self.state = Standing(clock(), reason="not connected yet")
        self._urls = [URL(url) for url in urls]
        rng.shuffle(self._urls)
        self._dialling = dialling
        self._hello = hello
        self._on_table = on_table
        self._on_sources = on_sources
        self._on_standing = on_standing
        self._rng = rng
        self._pace = pace or Pace()
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.source = Relay(wake=self._wake.set, soon=self._loop.call_soon)
        self._status: dict[str, object] = {}
        self._status_due: dict[str, object] = {}
        self._reasons: dict[URL, str] = {}
        self._grace: asyncio.TimerHandle | None = None
        self._logged: str | None = None

    def report(self, status: Mapping[str, object]) -> None:
        """The agent's status. What is left away is as reported last; of what is told twice in a second, the last."""
        self._status.update(status)
        self._status_due.update(status)
        self._wake.set()

    async def run(self) -> None:
        self._doubt()
        failures = turn = 0
        try:
            while True:
                url = self._urls[turn % len(self._urls)]
                began = self._loop.time()
                reason = await self._attempt(url)
                _stop_if_cancelled()
                settled = self.state.connected and self._loop.time() - began >= self._pace.settled
                failures = 0 if settled else failures + 1
                self._ended(url, reason, settled=settled)
                await asyncio.sleep(self._rng.random() * self._pace.backoff.ceiling(max(0, failures - 1)))
                turn += 1
        finally:
            self._cancel_grace()

    # One stream

    async def _attempt(self, url: URL) -> str:
        """The bulkhead. Returns why it ended."""
        reason = ""
        try:
            async with self._dialling.open(url, self._pace, self._heard) as socket:
                await self._talk(url, socket)
        except* Ended as ended:
            reason = str(ended.exceptions[0])
        except* (aiohttp.ClientError, OSError, TimeoutError) as failed:
            reason = reason or said(failed.exceptions[0])
        except* Exception as bug:
            # Whatever goes wrong here, the agent serves what it knows and tries again.
            logger.exception("a bug in the link to the control plane", exc_info=bug)
            reason = f"a bug: {bug.exceptions[0]!r}"
        return reason

    def _heard(self) -> None:
        self.source.heard = self._clock()

    async def _talk(self, url: URL, socket: Socket) -> None:
        await socket.say(self._hello())
        self.source.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(socket))
            self._welcomed(url, await self._greeting(socket))
            while True:
                self._take(await socket.hear())

    async def _greeting(self, socket: Socket) -> FromControl:
        try:
            async with asyncio.timeout(self._pace.connect):
                while (frame := await socket.hear()) is None:
                    pass
        except TimeoutError:
            raise Ended(f"no welcome within {self._pace.connect:g} s") from None
        return frame

    def _welcomed(self, url: URL, frame: FromControl) -> None:
        if isinstance(frame, Refused):
            raise Ended(f"it refuses us: {frame.reason}")
        if not isinstance(frame, Welcome) or frame.protocol != PROTOCOL:
            raise Ended(f"it doesn't speak protocol {PROTOCOL}; run versions next to each other")
        self._cancel_grace()
        self._reasons.clear()
        self.source.available()
        self._stand(Standing(self._clock(), shown(url), frame.replica))
        fields = {"url": shown(url), "replica": frame.replica, "version": frame.control}
        logger.info("connected to the control plane", extra={"fields": fields})

    def _take(self, frame: FromControl | None) -> None:
        match frame:
            case Observation() as observation:
                self.source.told(observation)
            case Same(names):
                self.source.same(_paths(names))
            case Table() as table:
                self._tell(self._on_table, table)
            case Sources() as sources:
                self._tell(self._on_sources, sources)
            case Refused(reason):
                raise Ended(f"it refuses us: {reason}")

    @staticmethod
    def _tell(callback: Callable[[Told], None], told: Told) -> None:
        try:
            callback(told)
        except Exception:
            # The names go on: they don't depend on it.
            logger.exception("what the link tells was not taken")

    async def _write(self, socket: Socket) -> None:
        """Latest wins: what is asked and reported while a frame is being sent is told in the next one."""
        self._status_due = dict(self._status)
        # That the stream has ended is heard, with the reason, by who reads.
        with contextlib.suppress(ConnectionError):
            await self._write_on(socket)

    async def _write_on(self, socket: Socket) -> None:
        next_status = 0.0
        while True:
            self._wake.clear()
            for frame in self.source.asking():
                await socket.say(frame)
            if self._status_due and self._loop.time() >= next_status:
                await self._say_status(socket)
                next_status = self._loop.time() + self._pace.status
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_status if self._status_due else None):
                    await self._wake.wait()

    async def _say_status(self, socket: Socket) -> None:
        report, self._status_due = self._status_due, {}
        try:
            await socket.say(Status(report))
        except (TypeError, ValueError):
            # It would end every stream from now on.
            logger.exception("the agent's report can't be written as JSON")

    # Between streams

    def _ended(self, url: URL, reason: str, *, settled: bool) -> None:
        self._reasons[url] = reason
        whole = self._unreachable()
        if self.state.connected:
            self._stand(Standing(self._clock(), reason=whole))
            self.source.doubt()
            self._doubt()
        else:
            self._stand(Standing(self.state.since, reason=whole))
            if self._grace is None:
                self.source.unavailable(whole)
        told = f"{shown(url)}: {reason}"
        level = logging.DEBUG if told == self._logged and not settled else logging.WARNING
        self._logged = told
        logger.log(level, "no stream from the control plane", extra={"fields": {"url": shown(url), "reason": reason}})

    def _stand(self, standing: Standing) -> None:
        self.state = standing
        self._tell(self._on_standing, standing)

    def _doubt(self) -> None:
        self._cancel_grace()
        self._grace = self._loop.call_later(self._pace.grace, self._grace_is_over)

    def _grace_is_over(self) -> None:
        self._grace = None
        self.source.unavailable(self._unreachable())

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _unreachable(self) -> str:
        """The same text while the same replicas fail for the same reasons: another is another state of each name."""
        reasons = ", ".join(f"{shown(url)}: {self._reasons[url]}" for url in sorted(self._reasons))
        return f"the control plane can't be reached: {reasons or 'no answer yet'}"


def _stop_if_cancelled() -> None:
    """Before Python 3.13 a TaskGroup that is ending because of an error loses a cancellation that comes just then."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _paths(names: Sequence[str]) -> list[Path]:
    try:
        return [path(name, "names") for name in names]
    except BadFrame as error:
        raise unreadable(error) from error
