"""What the agent tells its control plane of itself: built from the parts as they are, when something changed or is due.

Numbers come from Envoy's counters, which are read once every RATES_SECONDS in one question, and only if there is a
control plane. What can't be known is left away: a name beyond `metrics.names` has no counters of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import TYPE_CHECKING

from discovery.address import Bound, Known, Pending, State
from discovery.observatory import SourceEntry
from discovery.path import Path
from mesh.agent import envoy_admin
from mesh.agent.counted import OTHER
from mesh.agent.names import Name
from mesh.agent.shown import shown
from mesh.naming.bind import has_endpoint

if TYPE_CHECKING:
    from mesh.agent.wiring import Brain

logger = logging.getLogger("tieline.report")

Row = dict[str, object]
RATES_SECONDS = 10.0
PAUSE_SECONDS = 1.0
"""Between two reports, so that what changes all the time is told of now and then."""
COUNTERS = "/stats?usedonly&filter=^vhost\\..*\\.upstream_rq_[1-5]xx$"
_Subject = tuple[str, str]


@dataclass(slots=True)
class Count:
    """Requests since the proxy began, and how many of them ended with 5xx."""

    requests: int = 0
    failures: int = 0


class Counters:
    """By router and stat prefix. Empty as long as Envoy can't be asked."""

    def __init__(self, admin: File, clock: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._clock = clock
        self._read_at = 0.0
        self._seconds = 0.0
        self._now: Mapping[_Subject, Count] = {}
        self._before: Mapping[_Subject, Count] = {}

    async def read(self) -> None:
        found: defaultdict[_Subject, Count] = defaultdict(Count)
        try:
            await envoy_admin.lines(self._admin, COUNTERS, lambda line: _take(found, line))
        except (OSError, TimeoutError, ValueError, EOFError) as error:
            logger.debug("Envoy's counters could not be read", extra={"fields": {"error": error}})
            return
        now = self._clock()
        self._seconds = now - self._read_at if self._read_at else 0.0
        self._before, self._now, self._read_at = self._now, dict(found), now

    def of(self, router: str, prefix: str) -> Row:
        """`rate`: requests per second between the last two reads."""
        if prefix == OTHER or not self._read_at:
            return {}
        count, before = self._now.get((router, prefix), Count()), self._before.get((router, prefix), Count())
        # A proxy that began anew counts from 0.
        new = count.requests - (before.requests if before.requests <= count.requests else 0)
        rate = {"rate": round(new / self._seconds, 3)} if self._seconds else {}
        return {"requests": count.requests, "failures": count.failures, **rate}


def _take(found: Mapping[_Subject, Count], line: str) -> None:
    stat, _, value = line.rpartition(": ")
    router, _, rest = stat.removeprefix("vhost.").partition(".route.")
    prefix, _, kind = rest.rpartition(".upstream_rq_")
    count = found[router, prefix]
    count.requests += int(value)
    if kind == "5xx":
        count.failures += int(value)


class Reporter:
    """`send` gets the whole report, but `names` only when the rates are new or other names are in use."""

    def __init__(self, brain: Brain, send: Callable[[Mapping[str, object]], None], started: float) -> None:
        self._brain = brain
        self._send = send
        self._started = started
        self._counters = Counters(brain.envoy_admin)
        self._wake = asyncio.Event()
        self._envoy_version: object = None
        self._said: Row = {}
        self._named: frozenset[tuple[str, Path]] = frozenset()

    def changed(self) -> None:
        self._wake.set()

    async def keep(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if loop.time() >= due:
                due = loop.time() + RATES_SECONDS
                await self._counters.read()
                await self._ask_version()
                self._tell(rates=True)
            else:
                self._tell(rates=False)
            await asyncio.sleep(PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            self._wake.clear()

    async def _ask_version(self) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, EOFError):
            self._envoy_version = (await envoy_admin.info(self._brain.envoy_admin))["version"]

    def _tell(self, *, rates: bool) -> None:
        said = self.state()
        named = frozenset((name.router, name.path) for name in self._in_use())
        if rates or named != self._named:
            self._named = named
            self._send({**said, "names": list(self._names())})
        elif said != self._said:
            self._send(said)
        self._said = said

    def state(self) -> Row:
        in_force = self._brain.in_force
        fleet, refused = in_force.applied.fleet, in_force.refused
        return {
            "ready": self._brain.serves(),
            "table": fleet.number if fleet else None,
            "table_refused": refused and {"version": refused.fleet.number, "reason": refused.reason},
            "table_since": in_force.since,
            "envoy": self._envoy(),
            "held": list(self._held()),
            "brain_started": self._started,
            "local": dict(self._local()),
            "sources": [_source(entry) for entry in self._brain.own_sources],
            "dtab": self._brain.config.dtab.show(),
            "proxy": {"envoy": self._envoy_version},
        }

    def _envoy(self) -> Row:
        streams = self._brain.ads.status()
        refused = [
            {"resource": row["resource"], "reason": row["message"], "since": row["at"]}
            for row in self._brain.nacks.rows()
            if not row["resolved"]
        ]
        acked = sum(each.acked for stream in streams for each in stream.types)
        return {"connected": bool(streams), "acked": acked, "refused": refused}

    def _held(self) -> Iterator[Row]:
        observatory = self._brain.observatory
        for name, state, _ in observatory.known():
            if isinstance(state, Known) and state.held:
                yield {"name": name.show(), "reason": state.held, "since": observatory.held_since(name)}

    def _local(self) -> Iterator[tuple[str, Row]]:
        """What the agent's own sources say of the names it observes there."""
        own = {entry.root for entry in self._brain.own_sources}
        for name, state, entry in self._brain.observatory.known():
            if entry is not None and entry.root in own:
                yield name.show(), _local(state)

    def _in_use(self) -> Iterator[Name]:
        """What exists; who asks for names at random must not fill the reports with them."""
        return (name for name in self._brain.binder.names if name.kept and name.local is None)

    def _names(self) -> Iterator[Row]:
        """Each path once, however its callers write it."""
        for (router, path), name in {(name.router, name.path): name for name in self._in_use()}.items():
            numbers = self._counters.of(router, self._brain.counted.known(router, path))
            yield {"router": router, "name": path.show(), **numbers, "bound": shown(name)}


def _local(state: State) -> Row:
    """`endpoints` null: there is no such name. `usable` false: none of them may get requests."""
    if not isinstance(state, Known):
        return {"pending" if isinstance(state, Pending) else "failed": state.reason}
    row: Row = {"endpoints": len(state.addr.endpoints) if isinstance(state.addr, Bound) else None}
    if state.held is not None:
        row["held"] = True
    if state.lost is not None:
        row["lost"] = True
    if isinstance(state.addr, Bound) and state.addr.endpoints and not has_endpoint(state.addr):
        row["usable"] = False
    return row


def _source(entry: SourceEntry) -> Row:
    fewest = entry.fewest or entry.segments
    return {"prefix": entry.root.show(), "segments": entry.segments, "fewest": fewest, "longest": entry.longest}
