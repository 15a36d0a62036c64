"""The protocol a source implements, and what it may raise. `discovery/README.md` shows how to write one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from discovery.address import Addr, State
from discovery.path import Path


class SourceError(Exception):
    """The text says what failed and what to do; it reaches the log, `status` and `explain`, so it holds no secret."""


class Unavailable(SourceError):
    """The platform cannot be asked now. Asking again may help."""


class Misconfigured(SourceError):
    """The platform refuses this question as it is configured (bad token, unknown datacentre, missing folder)."""


Publish = Callable[[Addr], None]


class Hears(Enum):
    """How a source learns of a change."""

    EVENTS = "events"
    LONG_POLL = "long poll"
    POLL = "poll"
    NOTHING_CHANGES = "nothing changes"


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh a source can be while its platform answers. `seconds`: between polls; of other kinds, 0."""

    hears: Hears
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"poll every {self.seconds:g} s" if self.hears is Hears.POLL else self.hears.value


class Source(Protocol):
    async def observe(self, name: Path, publish: Publish) -> None:
        """Publish the current truth about `name` first, then every later truth, each one whole.

        `name` has exactly the number of segments that the configuration's `segments` says, without the prefix.
        Return when the stream ends: it is observed again. Raise `Unavailable` when the platform cannot be asked,
        `Misconfigured` when it never will answer like this; anything else is a bug and is reported as one.
        No retries, back-off, logging of failures or naming policy here. Hold no task outside the call, and stop
        within a second of cancellation. `publish` is synchronous, never fails, and may be given equal values.
        """
        ...


@runtime_checkable
class Catalog(Protocol):
    async def names(self) -> Iterable[Path]:
        """Every name this source could observe now. Raises as `observe` does."""
        ...


@runtime_checkable
class Rereads(Protocol):
    """A source of which one read tells all names, so that it is read again once and not once for every name."""

    async def reread(self, within: float) -> None:
        """Read all again. Returns when every observed name has been published from that read, or its observations
        have failed: those of a read that takes longer than `within` seconds fail, too. At once if none is observed.
        """
        ...


@runtime_checkable
class Relays(Protocol):
    """A source that passes on the states of another observatory, rather than stating facts.

    What it publishes has been held, confirmed and damped already, so none of this is done again, but for the first word
    after the stream has ended: who says it may have begun anew, and not know of what there was.
    """

    def relay(self, name: Path, publish: Callable[[State | Unavailable], None]) -> Callable[[], None]:
        """Publish the state of `name` (with its prefix), then every later one; `Unavailable` when it can't be had.

        Nothing is published before this returns, nor once the function it returns has been called, which ends it.
        A name is relayed once at a time. `publish` never fails, and may be given equal values.
        """
        ...

    def in_doubt(self, name: Path) -> bool:
        """Whether what is published now is the first word of it since the stream ended: perhaps a first read."""
        ...

    def heard_at(self, name: Path) -> float:
        """Until when the state that was published last is known to have been true: seconds since the epoch."""
        ...
