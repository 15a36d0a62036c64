"""One name of a source that relays another observatory's states: the link may fail, and what is known is then held.

    Pending ──told──▶ as told ──link lost──▶ Known(held) ──told──▶ as told
       └──bind timeout──▶ Failed ──told──▶ as told

The other observatory may know less than we do, because it began anew: then what we know is held, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from discovery.address import Failed, Known, Pending, State
from discovery.observing import tell
from discovery.outage import Outage
from discovery.path import Path
from discovery.source import Relays, Unavailable


@dataclass(frozen=True, slots=True)
class Relaying:
    """What the relayed observations of one source share. `bind_timeout`: seconds."""

    source: Relays
    bind_timeout: float
    loop: asyncio.AbstractEventLoop
    outage: Outage
    changed: Callable[[Path, State], None]


class Relayed:
    """`state`, `start` and `stop` are those of an `Observation`."""

    __slots__ = ("_bind_timer", "_end", "_relaying", "_restored", "_state", "name")

    def __init__(self, name: Path, relaying: Relaying, restored: Known | None) -> None:
        self.name = name
        self._relaying = relaying
        self._restored = restored is not None
        self._state: State = restored or Pending()
        self._bind_timer: asyncio.TimerHandle | None = None
        self._end: Callable[[], None] | None = None

    @property
    def state(self) -> State:
        """What is not held is confirmed by every sign of life of the link: looked up here, so it costs no tick."""
        known = self._state
        if isinstance(known, Known) and known.held is None:
            heard_at = self._relaying.source.heard_at(self.name)
            return Known(known.addr, known.since, heard_at, lost=known.lost)
        return known

    def start(self) -> None:
        if isinstance(self._state, Pending):
            relaying = self._relaying
            self._bind_timer = relaying.loop.call_later(relaying.bind_timeout, self._give_up_waiting)
        self._end = self._relaying.source.relay(self.name, self._published)

    def stop(self) -> None:
        self._wait_no_more()
        if self._end is not None:
            self._end()
            self._end = None
        self._relaying.outage.forget(self.name)

    def _published(self, told: State | Unavailable) -> None:
        if isinstance(told, Unavailable):
            self._relaying.outage.failed(self.name, str(told), None)
            self._know_nothing(str(told))
            return
        self._relaying.outage.recovered(self.name)
        if isinstance(told, Known):
            self._wait_no_more()
            self._restored = False
            self._set(told)
        elif isinstance(told, Failed) and not isinstance(self._state, Known):
            self._wait_no_more()
            self._set(told)
        else:
            self._know_nothing(told.reason)

    def _know_nothing(self, reason: str | None) -> None:
        known = self.state
        if isinstance(known, Known):
            held = reason or "the control plane has no answer yet"
            self._set(replace(known, held=f"restored from disk, not confirmed: {held}" if self._restored else held))
        elif self._bind_timer is None:
            self._set(Failed(self._no_answer(reason)))
        else:
            self._set(Pending(reason))

    def _give_up_waiting(self) -> None:
        self._bind_timer = None
        if isinstance(self._state, Pending):
            self._set(Failed(self._no_answer(self._state.reason)))

    def _no_answer(self, reason: str | None) -> str:
        text = f"no answer within {self._relaying.bind_timeout:g} s"
        return f"{text}: {reason}" if reason else text

    def _wait_no_more(self) -> None:
        if self._bind_timer is not None:
            self._bind_timer.cancel()
            self._bind_timer = None

    def _set(self, state: State) -> None:
        before, self._state = self._state, state
        tell(self._relaying.changed, self.name, before, state)
