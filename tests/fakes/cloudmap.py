"""Cloud Map's JSON protocol as far as its clients for discovery speak it, with the faults that moto can't be given.

Knows DiscoverInstances, DiscoverInstancesRevision, ListNamespaces and ListServices. Whatever else is asked fails the
test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

TARGET = "Route53AutoNaming_v20170314."
Service = tuple[str, str]
Answer = tuple[int, Mapping[str, object]]


def instances(*keys: tuple[str, int]) -> dict[str, dict[str, object]]:
    """What `put` takes, for addresses and ports."""
    return {
        f"i-{address}-{port}": {
            "HealthStatus": "HEALTHY",
            "Attributes": {"AWS_INSTANCE_IPV4": address, "AWS_INSTANCE_PORT": str(port)},
        }
        for address, port in keys
    }


def refusal(status: int, code: str, message: str = "") -> Answer:
    return status, {"__type": f"com.amazonaws.servicediscovery#{code}", "Message": message}


@dataclass(slots=True)
class FakeCloudMap:
    url: str = ""
    page: int = 100
    """How many namespaces or services a page of a list has."""
    refusal: Answer | None = None
    """What is answered to every question, if anything."""
    body: bytes | None = None
    """What DiscoverInstances is answered with, whatever is true."""
    asked: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    services: dict[Service, dict[str, dict[str, object]]] = field(default_factory=dict)
    revisions: dict[Service, int] = field(default_factory=dict)
    _is_halved: bool = False
    _is_stalled: bool = False
    _runner: web.ServerRunner | None = None
    _was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, namespace: str, service: str, **instances: dict[str, object]) -> None:
        """From now on the service has exactly these instances, and another revision."""
        self.lose(namespace, service, **instances)
        self.revisions[namespace, service] = self.revisions.get((namespace, service), 0) + 1

    def lose(self, namespace: str, service: str, **instances: dict[str, object]) -> None:
        """The same, and the revision stays as it was."""
        self.services[namespace, service] = {
            number: {"InstanceId": number, "NamespaceName": namespace, "ServiceName": service, **instance}
            for number, instance in instances.items()
        }

    def remove(self, namespace: str, service: str) -> None:
        del self.services[namespace, service]

    def halve(self) -> None:
        self._is_halved = True

    def stall(self) -> None:
        self._is_stalled = True

    def heal(self) -> None:
        """It answers, whole and what is true, again."""
        self.refusal, self.body, self._is_halved, self._is_stalled = None, None, False, False

    def count(self, operation: str) -> int:
        return sum(asked == operation for asked, _ in self.asked)

    async def has_been_asked(self, operation: str, times: int) -> None:
        async with asyncio.timeout(10):
            while self.count(operation) < times:
                self._was_asked.clear()
                await self._was_asked.wait()

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.01)
        await self._runner.setup()
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        operation = request.headers.get("X-Amz-Target", "").removeprefix(TARGET)
        known = {
            "DiscoverInstances": self._discover,
            "DiscoverInstancesRevision": self._revision,
            "ListNamespaces": self._namespaces,
            "ListServices": self._services,
        }
        if request.method != "POST" or request.path != "/" or operation not in known:
            self.unexpected.append(f"{request.method} {request.path_qs} {operation}")
            return web.Response(status=501)
        wanted: dict[str, object] = json.loads(await request.read())
        self.asked.append((operation, wanted))
        self._was_asked.set()
        if self._is_stalled:
            await asyncio.get_running_loop().create_future()
        status, answer = self.refusal or known[operation](wanted)
        body = json.dumps(answer).encode()
        if operation == "DiscoverInstances" and self.body is not None and status == 200:
            body = self.body
        return await self._sent(request, status, body)

    async def _sent(self, request: web.BaseRequest, status: int, body: bytes) -> web.StreamResponse:
        kind = "application/x-amz-json-1.1"
        if not self._is_halved:
            return web.Response(status=status, body=body, content_type=kind)
        response = web.StreamResponse(status=status, headers={"Content-Type": kind, "Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    def _found(self, wanted: Mapping[str, object]) -> Service | Answer:
        namespace, service = str(wanted["NamespaceName"]), str(wanted["ServiceName"])
        if namespace not in {known for known, _ in self.services}:
            return refusal(404, "NamespaceNotFound", namespace)
        if (namespace, service) not in self.services:
            return refusal(404, "ServiceNotFound", service)
        return namespace, service

    def _discover(self, wanted: Mapping[str, object]) -> Answer:
        match self._found(wanted):
            case str(namespace), str(service):
                most = wanted.get("MaxResults", 100)
                assert isinstance(most, int)
                instances = list(self.services[namespace, service].values())
                # Real ones come in any order.
                shown = instances[::-1][:most] if len(self.asked) % 2 else instances[:most]
                return 200, {"Instances": shown, "InstancesRevision": self.revisions[namespace, service]}
            case int(status), answer:
                return status, answer
        raise AssertionError

    def _revision(self, wanted: Mapping[str, object]) -> Answer:
        match self._found(wanted):
            case str(namespace), str(service):
                return 200, {"InstancesRevision": self.revisions[namespace, service]}
            case int(status), answer:
                return status, answer
        raise AssertionError

    def _namespaces(self, wanted: Mapping[str, object]) -> Answer:
        names = sorted({namespace for namespace, _ in self.services})
        listed = [
            {"Id": f"ns-{name}", "Name": name, "Type": "HTTP", "Properties": {"HttpProperties": {"HttpName": name}}}
            for name in names
        ]
        return self._paged("Namespaces", listed, wanted)

    def _services(self, wanted: Mapping[str, object]) -> Answer:
        """A page is filtered after it has been cut, as AWS says: it may be empty and have a next one."""
        filters = wanted["Filters"]
        assert isinstance(filters, list)
        namespace = filters[0]["Values"][0].removeprefix("ns-")
        names = sorted(self.services)
        status, answer = self._paged("Services", [{"Id": f"srv-{a}-{b}", "Name": b, "of": a} for a, b in names], wanted)
        listed = answer["Services"]
        assert isinstance(listed, list)
        return status, {**answer, "Services": [each for each in listed if each.pop("of") == namespace]}

    def _paged(
        self, key: str, listed: list[dict[str, str]] | list[dict[str, object]], wanted: Mapping[str, object]
    ) -> Answer:
        first = int(str(wanted.get("NextToken", "0")))
        more = {"NextToken": str(first + self.page)} if first + self.page < len(listed) else {}
        return 200, {key: listed[first : first + self.page], **more}


@asynccontextmanager
async def fake_cloudmap() -> AsyncIterator[FakeCloudMap]:
    fake = FakeCloudMap()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
    assert not fake.unexpected, fake.unexpected
