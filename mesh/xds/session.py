"""One delta ADS stream, without I/O: requests in, responses out, in the order that breaks nothing.

    receive(request)   what the client asked for, acknowledged or refused; returns what that means
    flush()            the responses to write now; call it after `receive` and whenever the store has changed

Make before break, by the store's sequence numbers:

- a listener or scope that changed at s is sent when every cluster put with a number <= s is acknowledged. Envoy holds
  a cluster's acknowledgement back until it is warm, so then it can be used;
- a cluster's removal at s is sent when every listener and scope change with a number <= s is acknowledged;
- endpoints go at once, and again after their cluster was sent: a changed cluster waits for them and does not ask.

An Envoy subscribes to clusters first; until a stream has done so, its listeners and scopes wait, and until its
listeners are acknowledged, no cluster is removed.
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from mesh.xds.events import Acked, Event, Nack, Unclaimed
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE
from mesh.xds.status import Standing
from mesh.xds.store import Store
from mesh.xds.subscription import Subscription

_ALWAYS = float("inf")
_FIRST, _LAST = (CLUSTER, ENDPOINTS), (LISTENER, SCOPE)


class Session:
    def __init__(self, store: Store) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self._store = store
        self._nonce = 0

    def receive(self, request: DeltaDiscoveryRequest) -> list[Event]:
        subscription = self.subscriptions.get(request.type_url)
        if subscription is None:
            return self._begin(request)
        events: list[Event] = []
        if subscription.flight is not None and request.response_nonce == subscription.flight.nonce:
            if request.HasField("error_detail"):
                events.append(subscription.refused(request.error_detail.message))
            else:
                events.append(acked := subscription.acked())
                self._forgive(acked)
        if request.resource_names_unsubscribe:
            subscription.unsubscribe(request.resource_names_unsubscribe)
        if request.resource_names_subscribe:
            subscription.subscribe(request.resource_names_subscribe)
        return events

    def flush(self) -> list[bytes]:
        for subscription in self.subscriptions.values():
            subscription.catch_up()
        return [response for subscription in self._in_order() for response in self._respond(subscription)]

    @property
    def is_current(self) -> bool:
        """Nothing is to be sent, and nothing is in flight."""
        return all(each.is_current for each in self.subscriptions.values())

    def standing(self, type_url: str, name: str) -> tuple[Standing, Nack | None]:
        subscription = self.subscriptions.get(type_url)
        if subscription is None or not subscription.wants(name):
            return Standing.UNWANTED, None
        if subscription.is_rejected(name):
            return Standing.REFUSED, subscription.rejected[name]
        return (Standing.APPLIED if subscription.has(name) else Standing.WAITING), None

    def _begin(self, request: DeltaDiscoveryRequest) -> list[Event]:
        subscription = self.subscriptions[request.type_url] = Subscription(request.type_url, self._store)
        subscription.begin(request.resource_names_subscribe, request.initial_resource_versions)
        if not subscription.unclaimed:
            return []
        return [Unclaimed(request.type_url, tuple(sorted(subscription.unclaimed)))]

    def _forgive(self, acked: Acked) -> None:
        """A route to a cluster that Envoy did not have is refused; now it may have it."""
        if acked.type_url == CLUSTER:
            for type_url in _LAST:
                if type_url in self.subscriptions:
                    self.subscriptions[type_url].forgive(acked.names)

    def _in_order(self) -> Iterator[Subscription]:
        others = [type_url for type_url in self.subscriptions if type_url not in (*_FIRST, *_LAST)]
        for type_url in (*_FIRST, *others, *_LAST):
            if type_url in self.subscriptions:
                yield self.subscriptions[type_url]

    def _respond(self, subscription: Subscription) -> Iterator[bytes]:
        if subscription.flight is not None:
            return
        due = subscription.due(*self._limits(subscription.type_url))
        # The first subscription is always answered: clusters at once, what waits for them when it may come.
        first = not subscription.answered and (subscription.type_url == CLUSTER or not subscription.dirty)
        if not (due.puts or due.removed or first):
            return
        self._nonce += 1
        nonce = str(self._nonce)
        # Envoy does not notice an answer without any name in a collection: its listener would wait for a time-out.
        empty = subscription.globs if first and not due.puts else []
        yield self._response(subscription.type_url, nonce, due.puts, [*due.removed, *empty])
        subscription.depart(nonce, due)
        if subscription.type_url == CLUSTER:
            self._owe_endpoints(due.puts)

    def _limits(self, type_url: str) -> tuple[float, float]:
        if type_url == CLUSTER:
            listeners, scopes = self.subscriptions.get(LISTENER), self.subscriptions.get(SCOPE)
            after_listeners = listeners.oldest() if listeners else 0
            return _ALWAYS, min(after_listeners, scopes.oldest() if scopes else _ALWAYS)
        if type_url in _LAST:
            clusters = self.subscriptions.get(CLUSTER)
            return clusters.oldest_put() if clusters else 0, _ALWAYS
        return _ALWAYS, _ALWAYS

    def _owe_endpoints(self, clusters: list[str]) -> None:
        # Before its first request for endpoints Envoy drops them without a word, so they would never be acknowledged.
        if endpoints := self.subscriptions.get(ENDPOINTS):
            known = self._store.resources(ENDPOINTS)
            endpoints.owed.update(name for name in clusters if name in known)

    def _response(self, type_url: str, nonce: str, puts: list[str], removed: list[str]) -> bytes:
        head = DeltaDiscoveryResponse(type_url=type_url, nonce=nonce, removed_resources=removed)
        known = self._store.resources(type_url)
        return b"".join([head.SerializeToString(), *(known[name].frame for name in puts)])
