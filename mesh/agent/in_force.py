"""The table in force, and how another one takes its place while the agent runs.

A table is read first, in a thread. One that can't be used is refused, as a value that is told as long as nothing better
comes; the last good one stays in force. Of several that come at once the last one counts. The disk remembers a table
when every proxy has taken what came of it: one that makes Envoy refuse something must not be all that a restart knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from mesh.agent.table import Own, Refused, Table
from mesh.config.certificates import BadCertificate
from mesh.config.material import Named
from mesh.control.version import Version

logger = logging.getLogger("tieline.table")

RETRY_SECONDS = 5.0
"""What is refused because of this host's files is tried again after this time."""


class Proxies(Protocol):
    """As `mesh.xds.server.Ads`."""

    def is_current(self) -> bool: ...
    def refused(self) -> frozenset[tuple[str, str]]: ...


class InForce:
    """`apply` lets a table bind names, `changed` hears of each change here. `files`: those that a table names."""

    def __init__(
        self,
        own: Own,
        remembered: Version | None,
        *,
        proxies: Proxies,
        remember: Callable[[Version], None],
        files: Callable[[Table], Mapping[str, Named]],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._own = own
        self._proxies, self._remember, self._files = proxies, remember, files
        self._retry_seconds = retry_seconds
        self._offered: Version | None = None
        self._news = asyncio.Event()
        self._unremembered: Version | None = None
        self._refused_before = proxies.refused()
        self.apply: Callable[[Table], None] = lambda _table: None
        self.changed: Callable[[], None] = lambda: None
        self.refused: Refused | None = None
        self.table = self.applied = self._first(remembered)
        self.since = time.time()
        """Since when every name is bound by `applied`, in seconds since the epoch."""

    def _first(self, remembered: Version | None) -> Table:
        """What certificates are worth is not asked: it was in force before."""
        table = self._own.alone() if remembered is None else self._own.behind(remembered)
        if isinstance(table, Table):
            return table
        self._refuse(table)
        return self._own.alone()

    def offer(self, fleet: Version) -> None:
        self._offered = fleet
        self._news.set()

    async def keep(self) -> None:
        while True:
            await self._next()
            fleet = self._offered
            if fleet is None:
                continue
            read = self.table if fleet == self.table.fleet else await asyncio.to_thread(self._read, fleet)
            if self._offered is fleet:
                self._take(read)

    async def _next(self) -> None:
        again = self.refused is not None and self.refused.passes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._retry_seconds if again else None):
                await self._news.wait()
        self._news.clear()

    def _read(self, fleet: Version) -> Table | Refused:
        table = self._own.behind(fleet)
        if isinstance(table, Refused):
            return table
        known = self._files(self.table)
        for name, named in self._files(table).items():
            try:
                if name not in known:
                    named.read()
            except BadCertificate as bad:
                return Refused(fleet, f"policies: {bad}", passes=True)
        return table

    def _take(self, read: Table | Refused) -> None:
        if isinstance(read, Refused):
            self._refuse(read)
            return
        self._offered, self.refused = None, None
        if read is not self.table:
            self.table, self._unremembered = read, None
            self._refused_before = self._proxies.refused()
            self.apply(read)
        self.changed()

    def _refuse(self, refused: Refused) -> None:
        if refused != self.refused:
            self.refused = refused
            fields = {"namespace": refused.fleet.namespace, "version": refused.fleet.number, "why": refused.reason}
            logger.error("a table can't be used, the last good one stays in force", extra={"fields": fields})
            self.changed()

    def bound(self) -> None:
        """Every name is bound by the present table."""
        if self.applied is not self.table:
            self.applied, self.since = self.table, time.time()
            self._unremembered = self.table.fleet
            logger.info("another table is in force", extra={"fields": {"version": self.table.version}})
            self.changed()
            self.acknowledged()

    def acknowledged(self) -> None:
        """A proxy has taken or refused something."""
        if self._unremembered is None or not self._proxies.is_current():
            return
        if self._proxies.refused() <= self._refused_before:
            self._remember(self._unremembered)
            self._unremembered = None
