"""Keeps one observation alive for as long as its name is wanted: the one place that retries, holds and reads again.

    Pending ──first answer──▶ Known ──error──▶ Known(held) ──answer──▶ Known
       └──bind timeout, or Misconfigured──▶ Failed ──answer──▶ Known

A source states facts. Ignorance is stated here: an error never shrinks what is known; a mass loss waits for a second
full read (`discovery.holding`), and what is confirmed to be lost is a last resort for some time yet; an endpoint that
flaps is told of once a second (`discovery.damping`); and on a timer all is read again and compared, so that an event
that was lost costs seconds.

Reading again means a new `observe`. The older one is let go of once the new one has published or failed, so there is no
gap. Thus an observation has at most two attempts: `_current`, whose word counts, and `_next`, which is to replace it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from discovery.address import Addr, Bound, Failed, Known, Neg, Pending, State
from discovery.backoff import Backoff
from discovery.damping import Damping
from discovery.holding import is_mass_loss, loss, merged, serves, vanished
from discovery.outage import Outage
from discovery.path import Path
from discovery.retries import Retries
from discovery.source import Misconfigured, Rereads, Source, SourceError, Unavailable

logger = logging.getLogger("tieline.observing")

_JITTER = 0.1
_GRID_SECONDS = 0.1
_READING_SHARE = 0.05
"""Of the time, at the most, a source is read again."""
_READ_SECONDS = 30.0
"""A full read may take this long, if `resync` is shorter."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds. `resync=0`: never read again, `confirm_after=0`: every truth is believed at once, others: none."""

    resync: float = 30.0
    confirm_after: float = 2.0
    last_resort: float = 0.0
    damping: float = 1.0
    bind_timeout: float = 2.0
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the observations of one source share. `clock` is wall time; timers run on the loop's."""

    source: Source
    settings: Settings
    group: asyncio.TaskGroup
    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]
    rng: random.Random
    outage: Outage
    retries: Retries
    changed: Callable[[Path, State], None]


class _Attempt:
    __slots__ = ("answered", "started", "task")

    def __init__(self, started: float) -> None:
        self.answered = False
        self.started = started
        self.task: asyncio.Task[None] | None = None


class Observation:
    __slots__ = (
        "_answered",
        "_base",
        "_bind_timer",
        "_confirm_timer",
        "_current",
        "_damping",
        "_damping_timer",
        "_failures",
        "_next",
        "_rest",
        "_resync_timer",
        "_scope",
        "_suspected_at",
        "name",
        "state",
    )

    def __init__(self, name: Path, rest: Path, scope: Scope, restored: Known | None) -> None:
        self.name = name
        self.state: State = restored or Pending()
        self._rest = rest
        self._scope = scope
        self._base: Addr | None = restored.addr if restored else None
        self._answered = False
        self._suspected_at: float | None = None
        self._failures = 0
        self._current: _Attempt | None = None
        self._next: _Attempt | None = None
        self._bind_timer: asyncio.TimerHandle | None = None
        self._confirm_timer: asyncio.TimerHandle | None = None
        self._resync_timer: asyncio.TimerHandle | None = None
        self._damping: Damping | None = None
        self._damping_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        settings = self._scope.settings
        if isinstance(self.state, Pending):
            self._bind_timer = self._scope.loop.call_later(settings.bind_timeout, self._give_up_waiting)
        # The first period is drawn shorter, so that names wanted together are not read again together.
        self._schedule_resync(0.5, 1.0)
        self._current = self._attempt()

    def stop(self) -> None:
        self._drop_attempts()
        for timer in (self._bind_timer, self._confirm_timer, self._resync_timer, self._damping_timer):
            _cancel(timer)
        self._scope.retries.cancel(self._retry)
        self._scope.outage.forget(self.name)

    # Attempts

    def _attempt(self) -> _Attempt:
        attempt = _Attempt(self._scope.loop.time())
        attempt.task = self._scope.group.create_task(self._run(attempt), name=self.name.show())
        return attempt

    async def _run(self, attempt: _Attempt) -> None:
        """The bulkhead: whatever a source raises ends here."""
        error: Exception | None = None
        try:
            await self._scope.source.observe(self._rest, lambda addr: self._published(attempt, addr))
        except Exception as raised:  # noqa: BLE001 - a bug in one source must not end the observations of the others
            error = raised
        self._ended(attempt, error)

    def _published(self, attempt: _Attempt, addr: Addr) -> None:
        if not isinstance(addr, Bound | Neg):
            raise TypeError(f"a source publishes Bound or Neg, not {type(addr).__name__}")
        if attempt not in (self._current, self._next):
            return
        if attempt is self._next:
            _drop(self._current)
            self._current, self._next = attempt, None
        attempt.answered = True
        self._scope.outage.recovered(self.name)
        self._scope.retries.answered()
        self._learn(addr, confirms=self._is_late_enough(attempt))

    def _ended(self, attempt: _Attempt, error: Exception | None) -> None:
        if attempt not in (self._current, self._next):
            return
        if error is None and not attempt.answered:
            error = Unavailable("the stream ended before its first answer")
        self._drop_attempts()
        self._scope.retries.later(self._retry, self._pause(attempt, error))
        if error is not None:
            self._fail(error)

    def _drop_attempts(self) -> None:
        _drop(self._current)
        _drop(self._next)
        self._current = self._next = None

    def _pause(self, attempt: _Attempt, error: Exception | None) -> float:
        """Failures count as being in a row until an attempt has answered and outlived the longest pause it followed."""
        backoff, lived = self._scope.settings.backoff, self._scope.loop.time() - attempt.started
        if error is None:
            self._failures = 0
            return max(0.0, backoff.first - lived)
        if attempt.answered and lived >= backoff.ceiling(self._failures):
            self._failures = 0
        self._failures += 1
        return backoff.delay(self._failures - 1, self._scope.rng)

    def _retry(self) -> None:
        if self._current is None:
            self._current = self._attempt()

    # Reading again

    def _schedule_resync(self, least: float = 1 - _JITTER, most: float = 1 + _JITTER) -> None:
        resync = self._scope.settings.resync
        if resync:
            delay = resync * self._scope.rng.uniform(least, most)
            # On a grid, so that an idle process wakes for several names at once.
            due = math.ceil((self._scope.loop.time() + delay) / _GRID_SECONDS) * _GRID_SECONDS
            self._resync_timer = self._scope.loop.call_at(due, self._resync)

    def _resync(self) -> None:
        self._schedule_resync()
        oldest_unanswered = next((a for a in (self._current, self._next) if a and not a.answered), None)
        if oldest_unanswered is None:
            self._read_again()
        elif self._scope.loop.time() - oldest_unanswered.started >= self._scope.settings.resync / 2:
            self._drop_attempts()
            self._fail(Unavailable(f"a full read has had no answer for {self._scope.settings.resync:g} s"))
            self._retry()

    def _read_again(self) -> None:
        if self._current is not None:
            _drop(self._next)
            self._next = self._attempt()

    # What is known

    def _is_late_enough(self, attempt: _Attempt) -> bool:
        """Whether what it says may confirm the loss that is suspected. A timer may fire a little early."""
        after = self._scope.settings.confirm_after * (1 - _JITTER)
        return self._suspected_at is not None and attempt.started >= self._suspected_at + after

    def _learn(self, addr: Addr, *, confirms: bool) -> None:
        self._answered = True
        _cancel(self._bind_timer)
        self._bind_timer = None
        held, settings = self._base, self._scope.settings
        if held is None or not settings.confirm_after or not is_mass_loss(held, addr):
            self._accept(addr)
        elif not (confirms or self._is_lost):
            self._suspect(held, addr)
        elif settings.last_resort > settings.confirm_after and not serves(addr):
            self._keep_as_last_resort(addr)
        else:
            self._accept(addr)

    @property
    def _is_lost(self) -> bool:
        return isinstance(self.state, Known) and self.state.lost is not None

    def _keep_as_last_resort(self, read: Addr) -> None:
        """The loss is confirmed. What was known may still be better than nothing, and a source may lie twice."""
        assert isinstance(self.state, Known)
        if not self._is_lost:
            self._trust()
            seconds = self._scope.settings.last_resort - self._scope.settings.confirm_after
            self._confirm_timer = self._scope.loop.call_later(seconds, self._give_up)
        left = f"kept for {self._scope.settings.last_resort:g} s, for names that have nothing else"
        self._set(replace(self.state, held=f"{vanished(read)}; {left}", lost=read))

    def _give_up(self) -> None:
        self._confirm_timer = None
        if isinstance(self.state, Known) and self.state.lost is not None:
            self._accept(self.state.lost)

    def _accept(self, read: Addr) -> None:
        addr = self._damped(read)
        self._base = read
        self._trust()
        now = self._scope.clock()
        if isinstance(self.state, Known) and self.state.addr == addr:
            self._set(replace(self.state, confirmed_at=now, held=None, lost=None))
        else:
            self._set(Known(addr, since=now, confirmed_at=now))

    def _damped(self, read: Addr) -> Addr:
        """As much of it as may be told now; the rest follows when its time has come."""
        seconds, now = self._scope.settings.damping, self._scope.loop.time()
        if not seconds or not isinstance(self.state, Known) or (self._damping is None and read == self.state.addr):
            return read
        damping = self._damping = self._damping or Damping(seconds)
        damping.heard(self._base or read, read, now)
        addr, due = damping.passed(self.state.addr, read, now)
        _cancel(self._damping_timer)
        self._damping_timer = None if due is None else self._scope.loop.call_at(due, self._undamp, read)
        if due is None and not damping:
            self._damping = None
        return addr

    def _undamp(self, read: Addr) -> None:
        """What was held up is told, unless something else has been read meanwhile."""
        self._damping_timer = None
        if read is self._base and isinstance(self.state, Known):
            addr = self._damped(read)
            if addr != self.state.addr:
                self._set(replace(self.state, addr=addr, since=self._scope.clock()))

    def _suspect(self, held: Addr, read: Addr) -> None:
        assert isinstance(self.state, Known)
        confirm_after = self._scope.settings.confirm_after
        if self._suspected_at is None:
            self._suspected_at = self._scope.loop.time()
            self._confirm_timer = self._scope.loop.call_later(confirm_after, self._read_again)
        addr = merged(held, read)
        since = self.state.since if addr == self.state.addr else self._scope.clock()
        self._set(replace(self.state, addr=addr, since=since, held=loss(held, read, confirm_after)))

    def _trust(self) -> None:
        self._suspected_at = None
        _cancel(self._confirm_timer)
        self._confirm_timer = None

    # What is not known

    def _fail(self, error: Exception) -> None:
        if not self._is_lost:
            # A platform that fails between two reads has not confirmed anything: the suspicion begins anew.
            self._trust()
        reason = str(error) if isinstance(error, SourceError) else f"a bug in the source: {error!r}"
        self._scope.outage.failed(self.name, reason, None if isinstance(error, SourceError) else error)
        if self._is_lost:
            return
        if isinstance(self.state, Known):
            held = reason if self._answered else f"restored from disk, not confirmed: {reason}"
            self._set(replace(self.state, held=held))
        elif isinstance(error, Misconfigured):
            self._set(Failed(reason))
        elif self._bind_timer is None:
            self._set(Failed(no_answer(self._scope.settings, reason)))
        else:
            self._set(Pending(reason))

    def _give_up_waiting(self) -> None:
        self._bind_timer = None
        if isinstance(self.state, Pending):
            self._set(Failed(no_answer(self._scope.settings, self.state.reason)))

    def _set(self, state: State) -> None:
        before, self.state = self.state, state
        tell(self._scope.changed, self.name, before, state)


def tell(changed: Callable[[Path, State], None], name: Path, before: State, state: State) -> None:
    """Told to the others: another address, held or not and why, another kind of state. Not: confirmed once more."""
    if isinstance(before, Known) and isinstance(state, Known):
        if (before.held, before.addr, before.lost) == (state.held, state.addr, state.lost):
            return
    elif type(before) is type(state):
        return
    try:
        changed(name, state)
    except Exception:
        # Neither the source nor the other names are to blame: they go on.
        logger.exception("a change of state was not taken", extra={"fields": {"name": name.show()}})


def no_answer(settings: Settings, reason: str | None) -> str:
    text = f"no answer within {settings.bind_timeout:g} s"
    return f"{text}: {reason}" if reason else text


async def reread(source: Rereads, scope: Scope, resync: float) -> None:
    """Keeps the names of a source fresh of which one read tells all: it is read once for all of them.

    A read that takes long, because there is much or because the platform has much to do, is made more seldom.
    """
    took = 0.0
    while True:
        await asyncio.sleep(max(resync, took / _READING_SHARE) * scope.rng.uniform(1 - _JITTER, 1 + _JITTER))
        began = scope.loop.time()
        try:
            await source.reread(max(resync, _READ_SECONDS))
        except Exception:
            # What it observes has been told or has failed by itself; the next turn may go well.
            logger.exception("a source can't be read again")
        took = scope.loop.time() - began


def _drop(attempt: _Attempt | None) -> None:
    if attempt is not None and attempt.task is not None:
        attempt.task.cancel()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
