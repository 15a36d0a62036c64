"""A fake of ECS (and of EC2's DescribeInstances) that speaks the wire: JSON 1.1 by X-Amz-Target, EC2 its XML.

Copies what ECS really does: pages of 100, batches of 100 and 10, failures with a reason, its errors. It refuses what it
does not know, and leaving `fake_ecs()` fails then. `python -m tests.fakes.ecs --port 0` runs it and prints its URL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from aiohttp import web

from tests.fakes.ecs_state import Cluster, State, arn

PREFIX = "AmazonEC2ContainerServiceV20141113."
PAGE = 100
SERVICES = 10

Answer = tuple[int, bytes]
Ask = Mapping[str, Any]


class Refusal(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(slots=True)
class FakeEcs:
    state: State = field(default_factory=State)
    url: str = ""
    calls: list[tuple[float, str]] = field(default_factory=list)
    """When what was asked, refused or not."""
    unexpected: list[str] = field(default_factory=list)
    fault: str = ""
    """dark, stall, garbage, cut, half, denied, throttled, expired, unknown_key, error: of every answer."""
    only: str = ""
    """The one operation that has the fault."""
    times: int = 1_000_000
    """How often the fault strikes still, of those that refuse."""
    limit: float = 0.0
    """Calls per second that are answered; 0 for any number. `others`: how many of them somebody else makes."""
    others: float = 0.0
    failing: dict[str, str] = field(default_factory=dict)
    """Task ids that can't be described, and the reason."""
    keys: set[str] = field(default_factory=set)
    """Ids of the access keys that signed what was asked."""
    _was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def counted(self) -> Counter[str]:
        return Counter(operation for _, operation in self.calls)

    async def has_been_asked(self, times: int, operation: str = "") -> None:
        """Until it has been asked that often since it was started."""
        async with asyncio.timeout(10):
            while sum(each == operation or not operation for _, each in self.calls) < times:
                self._was_asked.clear()
                await self._was_asked.wait()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        target = request.headers.get("X-Amz-Target", "")
        is_ecs = target.startswith(PREFIX)
        operation = target.removeprefix(PREFIX) if is_ecs else parse_qs(body.decode()).get("Action", [request.path])[0]
        self.calls.append((asyncio.get_running_loop().time(), operation))
        self.keys |= set(re.findall(r"Credential=(\w+)/", request.headers.get("Authorization", "")))
        self._was_asked.set()
        if self.fault in ("dark", "stall", "half") and self.only in ("", operation):
            return await self._break(request)
        status, content = self._answered(operation, body) if is_ecs else self._of_ec2(operation, body)
        kind = "application/x-amz-json-1.1" if is_ecs else "text/xml;charset=UTF-8"
        return web.Response(status=status, body=content, headers={"Content-Type": kind, "x-amzn-RequestId": "1-2-3"})

    async def _break(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.fault == "stall":
            await asyncio.get_running_loop().create_future()
        if self.fault == "half":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"taskArns":["arn:aws:ecs')
        assert request.transport is not None
        request.transport.abort() if self.fault == "dark" else request.transport.close()
        return web.Response()

    def _answered(self, operation: str, body: bytes) -> Answer:
        try:
            self._refuse(operation)
            known = OPERATIONS.get(operation)
            asked = json.loads(body)
            if known is None or set(asked) - known[1]:
                return self._unknown(operation, body)
            content = known[0](self, asked)
        except Refusal as refusal:
            return refusal.status, json.dumps({"__type": refusal.code, "message": str(refusal)}).encode()
        if self.fault == "garbage" and self.only in ("", operation):
            return 200, b"<html>Welcome to the hotel's network</html>"
        if self.fault == "cut" and self.only in ("", operation):
            return 200, content[: len(content) // 2]
        return 200, content

    def _unknown(self, operation: str, body: bytes) -> Answer:
        self.unexpected.append(f"{operation} {body.decode()}")
        return 400, json.dumps({"__type": "UnknownOperationException", "message": operation}).encode()

    def _refuse(self, operation: str) -> None:
        now = self.calls[-1][0]
        if self.limit:
            recent = sum(1 for at, _ in self.calls[-int(self.limit) - 1 :] if at > now - 1)
            if recent > self.limit - self.others:
                raise Refusal("ThrottlingException", "Rate exceeded")
        if not self.fault or self.only not in ("", operation) or self.times == 0:
            return
        self.times -= 1
        service = "ec2" if operation == "DescribeInstances" else "ecs"
        match self.fault:
            case "denied":
                who = "User: arn:aws:sts::123456789012:assumed-role/app/i-1"
                code = "AccessDeniedException" if service == "ecs" else "UnauthorizedOperation"
                raise Refusal(code, f"{who} is not authorized to perform: {service}:{operation} on resource: *")
            case "throttled":
                raise Refusal("ThrottlingException" if service == "ecs" else "RequestLimitExceeded", "Rate exceeded")
            case "expired":
                raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
            case "unknown_key":
                raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
            case "error":
                raise Refusal("ServerException", "Service Unavailable. Please try again later.", 500)

    # ECS

    def cluster(self, asked: Ask) -> Cluster:
        found = self.state.clusters.get(asked.get("cluster", "default").rsplit("/", 1)[-1])
        if found is None:
            raise Refusal("ClusterNotFoundException", "Cluster not found.")
        return found

    def list_clusters(self, asked: Ask) -> bytes:
        return _page("clusterArns", [arn("cluster", name) for name in self.state.clusters], asked)

    def list_services(self, asked: Ask) -> bytes:
        services = self.cluster(asked).services.values()
        return _page("serviceArns", [each["serviceArn"] for each in services if each["status"] != "INACTIVE"], asked)

    def describe_services(self, asked: Ask) -> bytes:
        cluster = self.cluster(asked)
        if not 0 < len(asked["services"]) <= SERVICES:
            raise Refusal("InvalidParameterException", "Services cannot be empty, and at most 10.")
        found = [cluster.services[name] for name in asked["services"] if name in cluster.services]
        missing = [name for name in asked["services"] if name not in cluster.services]
        failures = [{"arn": arn("service", f"{cluster.name}/{name}"), "reason": "MISSING"} for name in missing]
        return json.dumps({"services": found, "failures": failures}).encode()

    def list_tasks(self, asked: Ask) -> bytes:
        cluster, status = self.cluster(asked), asked.get("desiredStatus", "RUNNING")
        if "nextToken" not in asked:
            cluster.listed = [task["taskArn"] for task in cluster.tasks.values() if task["desiredStatus"] == status]
        return _page("taskArns", cluster.listed, asked)

    def describe_tasks(self, asked: Ask) -> bytes:
        cluster, ids = self.cluster(asked), [each.rsplit("/", 1)[-1] for each in asked["tasks"]]
        if not 0 < len(ids) <= PAGE:
            raise Refusal("InvalidParameterException", "Tasks cannot be empty, and at most 100.")
        failures = [
            {"arn": arn("task", f"{cluster.name}/{id}"), "reason": self.failing.get(id, "MISSING")}
            for id in ids
            if id not in cluster.tasks or id in self.failing
        ]
        found = b",".join(cluster.render(id) for id in ids if id in cluster.tasks and id not in self.failing)
        return b'{"failures":%s,"tasks":[%s]}' % (json.dumps(failures).encode(), found)

    def describe_task_definition(self, asked: Ask) -> bytes:
        definition = self.state.definitions.get(asked["taskDefinition"])
        if definition is None:
            raise Refusal("ClientException", "Unable to describe task definition.")
        return json.dumps({"taskDefinition": definition, "tags": []}).encode()

    def describe_container_instances(self, asked: Ask) -> bytes:
        cluster, ids = self.cluster(asked), [each.rsplit("/", 1)[-1] for each in asked["containerInstances"]]
        if not 0 < len(ids) <= PAGE:
            raise Refusal("InvalidParameterException", "Container instances cannot be empty, and at most 100.")
        names = {id: arn("container-instance", f"{cluster.name}/{id}") for id in ids}
        found = [
            {"containerInstanceArn": names[id], "ec2InstanceId": cluster.instances[id], "status": "ACTIVE"}
            for id in ids
            if id in cluster.instances
        ]
        failures = [{"arn": names[id], "reason": "MISSING"} for id in ids if id not in cluster.instances]
        return json.dumps({"containerInstances": found, "failures": failures}).encode()

    # EC2

    def _of_ec2(self, operation: str, body: bytes) -> Answer:
        asked = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        known = {"Action", "Version", "NextToken", "Filter.1.Name"}
        try:
            extra = [key for key in asked if key not in known and not key.startswith("Filter.1.Value.")]
            if operation != "DescribeInstances" or extra or asked.get("Filter.1.Name") != "instance-id":
                return self._unknown(operation, body)
            self._refuse(operation)
        except Refusal as refusal:
            error = f"<Error><Code>{refusal.code}</Code><Message>{escape(str(refusal))}</Message></Error>"
            return 403, f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>".encode()
        if self.fault == "garbage" and self.only in ("", operation):
            return 200, b"<html>Welcome to the hotel's network</html>"
        ids = [value for key, value in asked.items() if key.startswith("Filter.1.Value.")]
        items = "".join(self._item(id) for id in ids if id in self.state.machines)
        return 200, (
            '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId>'
            f"<reservationSet>{items}</reservationSet></DescribeInstancesResponse>"
        ).encode()

    def _item(self, id: str) -> str:
        machine = self.state.machines[id]
        state = machine["State"]
        address = f"<privateIpAddress>{machine['PrivateIpAddress']}</privateIpAddress>" if state == "running" else ""
        return (
            f"<item><reservationId>r-1</reservationId><instancesSet><item><instanceId>{id}</instanceId>"
            f"<instanceState><code>16</code><name>{state}</name></instanceState>{address}</item></instancesSet></item>"
        )


OPERATIONS: dict[str, tuple[Callable[[FakeEcs, Ask], bytes], frozenset[str]]] = {
    "ListClusters": (FakeEcs.list_clusters, frozenset(("nextToken", "maxResults"))),
    "ListServices": (FakeEcs.list_services, frozenset(("cluster", "nextToken", "maxResults"))),
    "DescribeServices": (FakeEcs.describe_services, frozenset(("cluster", "services"))),
    "ListTasks": (FakeEcs.list_tasks, frozenset(("cluster", "desiredStatus", "nextToken", "maxResults"))),
    "DescribeTasks": (FakeEcs.describe_tasks, frozenset(("cluster", "tasks"))),
    "DescribeTaskDefinition": (FakeEcs.describe_task_definition, frozenset(("taskDefinition",))),
    "DescribeContainerInstances": (
        FakeEcs.describe_container_instances,
        frozenset(("cluster", "containerInstances")),
    ),
}


def _page(member: str, listed: list[str], asked: Ask) -> bytes:
    """ListServices has 10 a page unless said, the others 100."""
    most = asked.get("maxResults", 10 if member == "serviceArns" else PAGE)
    if not 1 <= most <= PAGE:
        raise Refusal("InvalidParameterException", "maxResults must be between 1 and 100")
    try:
        start = int(asked.get("nextToken", "page-0").removeprefix("page-"))
    except ValueError:
        raise Refusal("InvalidParameterException", "Invalid token") from None
    more = {"nextToken": f"page-{start + most}"} if start + most < len(listed) else {}
    return json.dumps({member: listed[start : start + most], **more}).encode()


@asynccontextmanager
async def served(fake: FakeEcs, port: int = 0) -> AsyncIterator[None]:
    runner = web.ServerRunner(web.Server(fake.answer, handler_cancellation=True), shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def fake_ecs() -> AsyncIterator[FakeEcs]:
    fake = FakeEcs()
    async with served(fake):
        yield fake
    assert not fake.unexpected, fake.unexpected


def fill(state: State, cluster: str, services: int, tasks: int) -> None:
    """`tasks` of each service, at port 8080."""
    for number in range(services):
        addresses = (number * tasks + each for each in range(tasks))
        state.put(cluster, f"s{number}", *((f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 8080) for n in addresses))


async def _serve(port: int, clusters: list[str], services: int, tasks: int) -> None:
    fake = FakeEcs()
    for cluster in clusters:
        fill(fake.state, cluster, services, tasks)
    async with served(fake, port):
        sys.stdout.write(f"{fake.url}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cluster", action="append", default=[], help="a cluster to begin with; may be repeated")
    parser.add_argument("--services", type=int, default=1, help="in each cluster: s0, s1, …")
    parser.add_argument("--tasks", type=int, default=2, help="of each service")
    told = parser.parse_args()
    asyncio.run(_serve(told.port, told.cluster or ["default"], told.services, told.tasks))
