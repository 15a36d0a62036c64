"""A delta ADS client: takes responses, remembers what it has, says so. What it refuses, the test decides."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from mesh.xds.events import Event
from mesh.xds.resource import CLUSTER, ENDPOINTS
from mesh.xds.session import Session


class Client:
    """`has[type][name]` is the version that was acknowledged; `unanswered[type]` the response that is not."""

    def __init__(self, session: Session, has: dict[str, dict[str, str]] | None = None) -> None:
        self.session = session
        self.has = has or {}
        self.unanswered: dict[str, DeltaDiscoveryResponse] = {}
        self.events: list[Event] = []

    def subscribe(self, type_url: str, *names: str) -> None:
        known = self.has.setdefault(type_url, {})
        first = type_url not in self.session.subscriptions
        request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names)
        # As Envoy: what came through a glob is not listed.
        if first and not any(name.endswith("/*") for name in names):
            request.initial_resource_versions.update(known)
        self._send(request)

    def unsubscribe(self, type_url: str, *names: str) -> None:
        for name in names:
            self.has[type_url].pop(name, None)
        self._send(DeltaDiscoveryRequest(type_url=type_url, resource_names_unsubscribe=names))

    def read(self) -> list[str]:
        """What the session writes now, as `Cluster(a=v1, -b)`."""
        shown = []
        for data in self.session.flush():
            response = DeltaDiscoveryResponse.FromString(data)
            assert response.type_url not in self.unanswered, "two responses of one type in flight"
            self.unanswered[response.type_url] = response
            shown.append(show(response))
        return shown

    def ack(self, type_url: str) -> None:
        response = self.unanswered.pop(type_url)
        self._take(response, {each.name for each in response.resources})
        self._send(DeltaDiscoveryRequest(type_url=type_url, response_nonce=response.nonce))

    def nack(self, type_url: str, message: str, took: Iterable[str] = ()) -> None:
        response = self.unanswered.pop(type_url)
        self._take(response, set(took))
        request = DeltaDiscoveryRequest(type_url=type_url, response_nonce=response.nonce)
        request.error_detail.message = message
        self._send(request)

    def settle(self) -> None:
        """Acknowledges everything until nothing more comes, subscribing to its clusters' endpoints as Envoy does."""
        self.read()
        while self.unanswered:
            self.ack(next(iter(self.unanswered)))
            self.read()

    def _take(self, response: DeltaDiscoveryResponse, names: set[str]) -> None:
        known = self.has.setdefault(response.type_url, {})
        for each in response.resources:
            if each.name in names:
                new = each.name not in known
                known[each.name] = each.version
                if new and response.type_url == CLUSTER:
                    self.subscribe(ENDPOINTS, each.name)
        for name in response.removed_resources:
            known.pop(name, None)
            if response.type_url == CLUSTER and name in self.has.get(ENDPOINTS, {}):
                self.unsubscribe(ENDPOINTS, name)

    def _send(self, request: DeltaDiscoveryRequest) -> None:
        self.events.extend(self.session.receive(request))


def show(response: DeltaDiscoveryResponse) -> str:
    entries = sorted(f"{each.name}={each.version}" for each in response.resources)
    entries += sorted(f"-{name}" for name in response.removed_resources)
    return f"{response.type_url.rpartition('.')[2]}({', '.join(entries)})"
