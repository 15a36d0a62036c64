"""The tables in force, in memory, as the store last told them.

While the store can't be asked, or what it says of a namespace can't be read, what was last known stays in force: held,
with the reason. Of a namespace a lower number never follows a higher one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing

from discovery.backoff import Backoff
from mesh.control.store.protocol import Expected, Latest, Store, StoreError, Unreadable
from mesh.control.version import Change, Version

logger = logging.getLogger("tieline.control")

_NOT_ASKED = "the store has not answered yet"
BACKOFF = Backoff(first=0.2, most=10.0)

Changed = Callable[[Version], None]


class Tables:
    def __init__(
        self,
        store: Store,
        *,
        backoff: Backoff = BACKOFF,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._backoff = backoff
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._clock = clock
        self._known: Mapping[str, Version] = {}
        self._unreadable: Mapping[str, str] = {}
        self._answered = asyncio.Event()
        self._changed: dict[object, Changed] = {}
        self.held: str | None = _NOT_ASKED
        """Why what is known may be old. None: it is fresh."""
        self.held_since: float | None = clock()
        """In seconds since the epoch; None when it is not held."""

    async def keep(self) -> None:
        """Follows the store for ever."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._follow()
            except StoreError as error:
                self._hold(str(error))
            if loop.time() - began > 2 * self._backoff.most:
                failures = 0
            # Full jitter: several replicas lose one store at the same moment.
            await asyncio.sleep(self._rng.uniform(0.0, self._backoff.ceiling(failures)))
            failures += 1

    async def ready(self) -> None:
        """Returns after the first answer of the store."""
        await self._answered.wait()

    def get(self, namespace: str) -> Version | None:
        """The last known; a deletion has no content."""
        return self._known.get(namespace)

    def all(self) -> Mapping[str, Version]:
        """As it is now: what is returned does not change."""
        return self._known

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Namespaces of which the store tells nothing that can be believed, and why: what was known of them is kept."""
        return self._unreadable

    async def put(self, namespace: str, change: Change, expected: Expected) -> Version:
        """As the store's; when it returns, the version is known here. Unreadable: it could not be believed."""
        if namespace in self._unreadable:
            raise Unreadable(self._unreadable[namespace])
        known = self._known.get(namespace)
        version = await self._store.put(namespace, change, expected)
        self._take({namespace: version}, {namespace: known} if known else {})
        return version

    def subscribe(self, changed: Changed) -> Callable[[], None]:
        """`changed` is told each version from now on, numbers growing. It may not fail. Returns what ends it."""
        place = object()
        self._changed[place] = changed

        def end() -> None:
            self._changed.pop(place, None)

        return end

    async def _follow(self) -> None:
        heard = dict(self._known)
        async with aclosing(self._store.watch()) as changes:
            # The first is all there is: what is not in it is lost.
            lost: Mapping[str, Latest] = {namespace: _lost(namespace) for namespace in heard}
            async for changed in changes:
                self._take({**lost, **changed}, heard)
                self._fresh()
                lost = {}

    def _take(self, changed: Mapping[str, Latest], heard: dict[str, Version]) -> None:
        """`heard`: what the store must not go back behind. A change of our own may be known here before it is heard."""
        unreadable = dict(self._unreadable)
        for namespace, latest in changed.items():
            reason = _unbelievable(heard.get(namespace), latest)
            if reason is not None:
                unreadable[namespace] = reason
            elif isinstance(latest, Version):
                heard[namespace] = latest
                unreadable.pop(namespace, None)
                self._put_in_force(latest)
        if unreadable != self._unreadable:
            self._doubt(unreadable)

    def _doubt(self, unreadable: Mapping[str, str]) -> None:
        for namespace in unreadable.keys() - self._unreadable.keys():
            fields = {"namespace": namespace, "reason": unreadable[namespace]}
            logger.warning("what is stored can't be believed, what was known is kept", extra={"fields": fields})
        self._unreadable = unreadable

    def _put_in_force(self, version: Version) -> None:
        known = self._known.get(version.namespace)
        if known is None or known.number < version.number:
            self._known = {**self._known, version.namespace: version}
            for changed in list(self._changed.values()):
                changed(version)

    def _hold(self, reason: str) -> None:
        if self.held in (None, _NOT_ASKED):
            fields = {"reason": reason}
            logger.warning("the store can't be asked, what was known of it is kept", extra={"fields": fields})
        if self.held_since is None:
            self.held_since = self._clock()
        self.held = reason

    def _fresh(self) -> None:
        if self.held is None or self.held_since is None:
            return
        seconds = round(self._clock() - self.held_since, 1)
        self.held = self.held_since = None
        self._answered.set()
        logger.info("the store answers", extra={"fields": {"namespaces": len(self._known), "after": seconds}})


def _unbelievable(heard: Version | None, latest: Latest) -> str | None:
    if isinstance(latest, Unreadable):
        return str(latest)
    if heard is None or latest.number > heard.number or latest == heard:
        return None
    return (
        f"the store has version {latest.number} of {latest.namespace} after version {heard.number}: it was set back;"
        " restart the control plane to take what it has"
    )


def _lost(namespace: str) -> Unreadable:
    return Unreadable(f"the store has lost {namespace}: restore it from a backup, or restart the control plane")
