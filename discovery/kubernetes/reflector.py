"""Keeps one resource of one namespace, or of all, true: a list in pages, then a watch from its version on.

read ─▶ store ─▶ follow: watch from the last version heard ─▶ ends ─▶ watch again
                    └──▶ 410 Gone: read again, and say what differs
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import aiohttp

from discovery.kubernetes import events, records
from discovery.kubernetes.api import Api, TooOld
from discovery.kubernetes.events import Bookmark, Event, Failed, Put, Removed
from discovery.kubernetes.lines import Lines, TooLong
from discovery.kubernetes.records import Key, Malformed, Page, Service, Slice
from discovery.kubernetes.store import Store
from discovery.source import Unavailable

T = TypeVar("T", Slice, Service)

WATCH_SECONDS = 240.0
"""After about so long the server ends a watch, as it is asked to, and the next one begins."""
IN_A_ROW = 3
"""Watches that end at once with nothing said, and lists that have to begin again, before it is an error."""
AT_ONCE_SECONDS = 1.0
FIRST_PAGE = 100
PAGE_BYTES = 2_000_000
"""What a page should have: nothing else is done while one is read, and a slice has up to 1,000 endpoints."""


@dataclass(frozen=True, slots=True)
class Resource(Generic[T]):
    group: str
    """The beginning of its paths."""
    plural: str
    page: Callable[[bytes], Page[T]]
    event: Callable[[bytes], Event[T]]

    def path(self, namespace: str) -> str:
        return f"{self.group}/namespaces/{namespace}/{self.plural}" if namespace else f"{self.group}/{self.plural}"


SLICES: Resource[Slice] = Resource("/apis/discovery.k8s.io/v1", "endpointslices", records.slices, events.slice_event)
SERVICES: Resource[Service] = Resource("/api/v1", "services", records.services, events.service_event)


class Reflector(Generic[T]):
    """`changed` is called with the service of which something has changed, once `read` has returned."""

    def __init__(
        self,
        api: Api,
        resource: Resource[T],
        *,
        namespace: str,
        selector: str,
        page_size: int,
        changed: Callable[[Key], None],
    ) -> None:
        self.store: Store[T] = Store()
        self._api, self._changed = api, changed
        self._resource: Resource[T] = resource
        self._path = resource.path(namespace)
        self._scope = {"labelSelector": selector} if selector else {}
        self._page_size = page_size
        self._version = ""

    async def read(self) -> None:
        """Replaces all that is known, at once."""
        for _ in range(IN_A_ROW):
            try:
                self.store, self._version = await self._pages()
            except TooOld:
                continue  # a page was asked for too late
            return
        raise Unavailable(f"{self._shown} could not be listed: {IN_A_ROW} times a page was too old when asked for")

    async def follow(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        fruitless = 0
        while fruitless < IN_A_ROW:
            since, version, is_gone = loop.time(), self._version, False
            try:
                await self._watch()
            except TooOld:
                is_gone = True
            # Before it is read again: that takes long where there is much, and says nothing of the watch.
            is_fruitful = self._version != version or loop.time() - since > AT_ONCE_SECONDS
            fruitless = 0 if is_fruitful else fruitless + 1
            if is_gone:
                await self._read_again()
        raise Unavailable(f"{self._shown} cannot be watched: {IN_A_ROW} times it ended at once")

    async def _pages(self) -> tuple[Store[T], str]:
        store: Store[T] = Store()
        version, more, limit = "", "", min(FIRST_PAGE, self._page_size)
        while True:
            query = {**self._scope, "limit": str(limit), **({"continue": more} if more else {})}
            body = await self._api.read(self._path, query)
            limit = min(self._page_size, max(1, limit * PAGE_BYTES // max(1, len(body))))
            try:
                page = self._resource.page(body)
            except Malformed as error:
                raise Unavailable(f"{self._shown}: the list makes no sense: {error}") from error
            for record in page.items:
                store.put(self.store.known(record))
            # What has changed since the first page was made is told again: that does no harm.
            version, more = version or page.version, page.more
            if not more:
                return store, version

    async def _read_again(self) -> None:
        before = self.store
        await self.read()
        for key in before.differing(self.store):
            self._changed(key)

    async def _watch(self) -> None:
        seconds = round(WATCH_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
        query = {
            **self._scope,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        silence = seconds + self._api.timeout
        async with self._api.watch(self._path, query, silence) as response:
            try:
                await self._hear(response)
            except TimeoutError as error:
                text = f"{self._shown}: the watch is silent, and has not ended when it should"
                raise Unavailable(text) from error
            except (aiohttp.ClientError, OSError):
                return  # broken off, maybe within a line: what was not heard whole is told by the next one

    async def _hear(self, response: aiohttp.ClientResponse) -> None:
        lines = Lines()
        async for chunk in response.content.iter_any():
            try:
                for line in lines.feed(chunk):
                    self._apply(self._resource.event(line))
            except (Malformed, TooLong) as error:
                raise Unavailable(f"{self._shown}: the watch makes no sense: {error}") from error
            await asyncio.sleep(0)  # a flood of events leaves room for others

    def _apply(self, event: Event[T]) -> None:
        match event:
            case Failed(410):
                raise TooOld
            case Failed(code, message):
                raise Unavailable(f"{self._shown}: the watch failed: {code} {message}")
            case Put(record, version):
                changed = self.store.put(record)
            case Removed(namespace, name, version):
                changed = self.store.remove(namespace, name)
            case Bookmark(version):
                changed = []
        self._version = version
        for key in changed:
            self._changed(key)

    @property
    def _shown(self) -> str:
        return f"{self._api.shown}{self._path}"
