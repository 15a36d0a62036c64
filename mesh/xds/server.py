"""The delta ADS service on a grpc.aio server: a session per stream, and who has what.

envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources     the only method
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from mesh.xds.events import Acked, Event, Nack
from mesh.xds.resource import Resource
from mesh.xds.session import Session
from mesh.xds.status import Holding, Standing, StreamStatus
from mesh.xds.store import Changes, Store
from mesh.xds.stream import Stream

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"
SERVER_OPTIONS = (
    # A proxy that is gone without a word is noticed, and it may ask as often as it likes whether we are there.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    # A reconnecting Envoy lists every version it has: some 100 bytes for each of its names.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)

logger = logging.getLogger("tieline.xds")

_Key = tuple[str, str]


class Unresponsive(Exception):
    """A proxy took a response and does not say whether it took it well. Connecting anew has cured that."""


def listen(server: grpc.aio.Server, socket: Path) -> None:
    """Binds `socket`; only its owner may enter the folder it lies in."""
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket.parent.chmod(0o700)
    server.add_insecure_port(f"unix:{socket}")


class Ads:
    """`store` is changed through `apply` and `settle`, which wake the streams. `report` must not fail or block."""

    def __init__(self, store: Store, *, report: Callable[[Event], None], ack_limit_seconds: float = 30.0) -> None:
        self.store = store
        self._report = report
        self._ack_limit = ack_limit_seconds
        self._streams: dict[int, Stream] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[_Key, set[asyncio.Future[Nack | None]]] = {}

    def add_to(self, server: grpc.aio.Server) -> None:
        method = grpc.stream_stream_rpc_method_handler(
            self._serve, request_deserializer=DeltaDiscoveryRequest.FromString, response_serializer=bytes
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))

    def apply(self, put: Iterable[tuple[str, Resource]] = (), remove: Iterable[_Key] = ()) -> Changes:
        """Puts and removals that belong together belong into one call."""
        changes = self.store.apply(put, remove)
        if changes:
            self._wake()
            # A proxy that came with just this acknowledges nothing.
            self._answer(changes.put)
        return changes

    def settle(self) -> None:
        """The sources have answered: what the store does not have by now is withdrawn from those who still have it."""
        self.store.settle()
        self._wake()

    async def applied(self, type_url: str, name: str) -> Nack | None:
        """Returns when a proxy has the stored version and none that subscribed lacks it, or with the first refusal.

        For a cluster that means it is warm. Waits for a proxy if there is none: the caller sets the time limit.
        """
        if self._is_decided((type_url, name)):
            return self._nack((type_url, name))
        waiter: asyncio.Future[Nack | None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault((type_url, name), set())
        waiters.add(waiter)
        try:
            return await waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiting.pop((type_url, name), None)

    def unclaimed(self, type_url: str) -> frozenset[str]:
        """What connected proxies have and the store does not know yet."""
        subscriptions = (stream.session.subscriptions.get(type_url) for stream in self._streams.values())
        return frozenset[str]().union(*(each.unclaimed for each in subscriptions if each))

    def holdings(self, type_url: str, name: str) -> tuple[Holding, ...]:
        return tuple(stream.holding(type_url, name) for stream in self._streams.values())

    def is_current(self) -> bool:
        """A proxy is connected, and none lacks anything of what the store has but what it refused."""
        return bool(self._streams) and all(stream.session.is_current for stream in self._streams.values())

    def refused(self) -> frozenset[_Key]:
        """What a connected proxy refuses."""
        subscriptions = (each for stream in self._streams.values() for each in stream.session.subscriptions.values())
        return frozenset((each.type_url, name) for each in subscriptions for name in each.rejected)

    def status(self) -> tuple[StreamStatus, ...]:
        now = asyncio.get_running_loop().time()
        return tuple(stream.status(now) for stream in self._streams.values())

    async def _serve(self, requests: AsyncIterator[Any], context: Any) -> None:
        stream = Stream(next(self._numbers), Session(self.store), time.time())
        self._streams[stream.number] = stream
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(self._write(stream, context))
                await self._read(stream, requests)
                writing.cancel()
        except* Unresponsive as silent:
            logger.warning("a proxy is disconnected", extra=_fields(stream, why=str(silent.exceptions[0])))
        except* Exception as failed:
            # The bulkhead: one stream's trouble ends that stream. Its proxy keeps what it has and connects again.
            logger.exception("the stream of a proxy failed", extra=_fields(stream), exc_info=failed)
        finally:
            logger.info("a proxy is gone", extra=_fields(stream))
            del self._streams[stream.number]
            self._remember(stream)
            self._answer(list(self._waiting))

    def _remember(self, stream: Stream) -> None:
        """What came through a glob, its proxy will not list when it connects again; removed meanwhile, it must go."""
        for type_url, subscription in stream.session.subscriptions.items():
            if subscription.globs:
                self.store.assume(type_url, subscription.may_have())

    async def _read(self, stream: Stream, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            if request.HasField("node") and not stream.node:
                stream.node = request.node.id
                logger.info("a proxy is connected", extra=_fields(stream))
            is_first = request.type_url not in stream.session.subscriptions
            events = stream.session.receive(request)
            stream.wake.set()
            if is_first or request.resource_names_subscribe:
                # It may have come with what is waited for, and will then acknowledge nothing.
                self._answer([key for key in self._waiting if key[0] == request.type_url])
            for event in events:
                self._take(stream, event)

    async def _write(self, stream: Stream, context: Any) -> None:
        """A proxy that does not read stops this here; what changes meanwhile is sent once, in its newest version."""
        loop = asyncio.get_running_loop()
        while True:
            stream.wake.clear()
            for response in stream.session.flush():
                await context.write(response)
            stream.stamp(loop.time())
            oldest = stream.oldest_flight()
            try:
                async with asyncio.timeout_at(None if oldest is None else oldest + self._ack_limit):
                    await stream.wake.wait()
            except TimeoutError:
                raise Unresponsive(f"it has acknowledged nothing for {self._ack_limit} s") from None

    def _take(self, stream: Stream, event: Event) -> None:
        if isinstance(event, Acked):
            stream.last_ack[event.type_url] = asyncio.get_running_loop().time()
            self.store.assume_no_more(event.type_url, event.names)
            self._answer([(event.type_url, name) for name in event.names])
        elif isinstance(event, Nack):
            self._answer([key for key in self._waiting if key[0] == event.type_url])
        self._report(event)

    def _answer(self, keys: Iterable[_Key]) -> None:
        for key in keys:
            if key in self._waiting and self._is_decided(key):
                nack = self._nack(key)
                for waiter in self._waiting[key]:
                    if not waiter.done():
                        waiter.set_result(nack)

    def _is_decided(self, key: _Key) -> bool:
        standings = {holding.standing for holding in self.holdings(*key)}
        if Standing.REFUSED in standings:
            return True
        return Standing.APPLIED in standings and Standing.WAITING not in standings

    def _nack(self, key: _Key) -> Nack | None:
        return next((holding.nack for holding in self.holdings(*key) if holding.nack is not None), None)

    def _wake(self) -> None:
        for stream in self._streams.values():
            stream.wake.set()


def _fields(stream: Stream, **more: object) -> dict[str, object]:
    return {"fields": {"stream": stream.number, "node": stream.node, **more}}
