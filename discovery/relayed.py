"""One name of a source that relays another observatory's states: the link may fail, and what is known is then held.

    Pending ──told──▶ as told ──link lost──▶ Known(held) ──told──▶ as told
       └──bind timeout──▶ Failed ──told──▶ as told

The other observatory may know less than we do, because it began anew: then what we know is held, too. And it may have
read its platform for the first time, which may lie: so a mass loss that is the first word after a lost link is believed
later, as in `discovery.observing`, and what it takes serves as a last resort until the platform has been read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from discovery.address import Addr, Failed, Known, Pending, State
from discovery.holding import gone, is_mass_loss, merged, serves, vanished
from discovery.observing import Settings, no_answer, tell
from discovery.outage import Outage
from discovery.path import Path
from discovery.source import Relays, Unavailable


@dataclass(frozen=True, slots=True)
class Relaying:
    """What the relayed observations of one source share."""

    source: Relays
    settings: Settings
    loop: asyncio.AbstractEventLoop
    outage: Outage
    changed: Callable[[Path, State], None]


class Relayed:
    """`state`, `start` and `stop` are those of an `Observation`."""

    __slots__ = (
        "_base",
        "_bind_timer",
        "_doubt_timer",
        "_end",
        "_relaying",
        "_restored",
        "_state",
        "_suspected",
        "name",
    )

    def __init__(self, name: Path, relaying: Relaying, restored: Known | None) -> None:
        self.name = name
        self._relaying = relaying
        self._restored = restored is not None
        self._state: State = restored or Pending()
        self._base: Addr | None = restored.addr if restored else None
        self._suspected: Known | None = None
        """What was told that may be a mass loss, while it is not believed."""
        self._doubt_timer: asyncio.TimerHandle | None = None
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
            self._bind_timer = relaying.loop.call_later(relaying.settings.bind_timeout, self._give_up_waiting)
        self._end = self._relaying.source.relay(self.name, self._published)

    def stop(self) -> None:
        self._wait_no_more()
        self._doubt_no_more()
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
            self._learn(told)
        elif isinstance(told, Failed) and not isinstance(self._state, Known):
            self._wait_no_more()
            self._set(told)
        else:
            self._know_nothing(told.reason)

    def _learn(self, told: Known) -> None:
        base, doubtful = self._base, self._suspected is not None or self._relaying.source.in_doubt(self.name)
        if base is not None and doubtful and told.held is None and is_mass_loss(base, told.addr):
            self._suspect(base, told)
        else:
            self._accept(told)

    def _accept(self, told: Known) -> None:
        self._doubt_no_more()
        self._base = told.addr
        self._set(told)

    def _suspect(self, base: Addr, told: Known) -> None:
        known = self.state
        assert isinstance(known, Known)
        after = self._relaying.settings.confirm_after
        if self._suspected is None:
            self._doubt_timer = self._relaying.loop.call_later(after, self._believe)
        self._suspected = told
        if known.lost is not None:
            self._set(replace(known, lost=told.addr))
        else:
            held = f"{gone(base, told.addr)}, says a control plane that was not asked before; waiting {after:g} s"
            self._set(replace(known, addr=merged(base, told.addr), held=held))

    def _believe(self) -> None:
        """What still serves is accepted. Of what doesn't, the last good is kept as a last resort."""
        told, settings = self._suspected, self._relaying.settings
        assert told is not None
        assert isinstance(self._state, Known)
        if serves(told.addr) or settings.last_resort <= settings.confirm_after:
            self._accept(told)
            return
        later = settings.last_resort - settings.confirm_after
        self._doubt_timer = self._relaying.loop.call_later(later, self._give_up)
        kept = f"kept for {settings.last_resort:g} s, for names that have nothing else"
        self._set(replace(self._state, held=f"{vanished(told.addr)}; {kept}", lost=told.addr))

    def _give_up(self) -> None:
        if self._suspected is not None:
            self._accept(self._suspected)

    def _doubt_no_more(self) -> None:
        self._suspected = None
        if self._doubt_timer is not None:
            self._doubt_timer.cancel()
            self._doubt_timer = None

    def _know_nothing(self, reason: str | None) -> None:
        self._doubt_no_more()
        known = self.state
        if isinstance(known, Known):
            held = reason or "the control plane has no answer yet"
            held = f"restored from disk, not confirmed: {held}" if self._restored else held
            self._set(replace(known, held=held))
        elif self._bind_timer is None:
            self._set(Failed(no_answer(self._relaying.settings, reason)))
        else:
            self._set(Pending(reason))

    def _give_up_waiting(self) -> None:
        self._bind_timer = None
        if isinstance(self._state, Pending):
            self._set(Failed(no_answer(self._relaying.settings, self._state.reason)))

    def _wait_no_more(self) -> None:
        if self._bind_timer is not None:
            self._bind_timer.cancel()
            self._bind_timer = None

    def _set(self, state: State) -> None:
        before, self._state = self._state, state
        tell(self._relaying.changed, self.name, before, state)
