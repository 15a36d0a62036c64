"""What the fake ECS knows, in the shapes of ECS's API. Every change makes a new version of the task."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REGION, ACCOUNT = "eu-west-1", "123456789012"
STARTED = 1_790_000_000.5


def arn(kind: str, rest: str) -> str:
    return f"arn:aws:ecs:{REGION}:{ACCOUNT}:{kind}/{rest}"


@dataclass(slots=True)
class Cluster:
    name: str
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By id; those that have stopped stay for a while, as they do at AWS."""
    instances: dict[str, str] = field(default_factory=dict)
    """Container instances by id: their EC2 instance."""
    rendered: dict[str, bytes] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    """As of the first page: to list anew for every page would take the square of the time."""

    def render(self, id: str) -> bytes:
        if id not in self.rendered:
            self.rendered[id] = json.dumps(self.tasks[id]).encode()
        return self.rendered[id]


@dataclass(slots=True)
class State:
    clusters: dict[str, Cluster] = field(default_factory=dict)
    definitions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By ARN."""
    machines: dict[str, dict[str, str]] = field(default_factory=dict)
    """EC2 instances by id: PrivateIpAddress, State."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def cluster(self, name: str) -> Cluster:
        return self.clusters.setdefault(name, Cluster(name))

    def define(self, family: str, *containers: Mapping[str, Any], mode: str = "awsvpc") -> str:
        """Registers the next revision; `containers` as in the API, with `name` and `portMappings`."""
        revision = 1 + sum(each["family"] == family for each in self.definitions.values())
        name = arn("task-definition", f"{family}:{revision}")
        self.definitions[name] = {
            "taskDefinitionArn": name,
            "containerDefinitions": [
                {"image": "app:1", "cpu": 0, "essential": True, "environment": [], "mountPoints": [], **each}
                for each in containers
            ],
            "family": family,
            "revision": revision,
            "networkMode": mode,
            "status": "ACTIVE",
            "compatibilities": ["EC2", "FARGATE"] if mode == "awsvpc" else ["EC2"],
        }
        return name

    def service(self, cluster: str, name: str, definition: str = "") -> None:
        self.cluster(cluster).services[name] = {
            "serviceArn": arn("service", f"{cluster}/{name}"),
            "serviceName": name,
            "clusterArn": arn("cluster", cluster),
            "status": "ACTIVE",
            "desiredCount": 1,
            "runningCount": 0,
            "pendingCount": 0,
            "launchType": "FARGATE",
            "taskDefinition": definition,
        }

    def machine(self, cluster: str, address: str, *, id: str = "", state: str = "running") -> str:
        """A container instance; answers with its ARN. `id`: of EC2, or `mi-…` for one outside."""
        number = next(self._numbers)
        ec2 = id or f"i-{number:017x}"
        instance = f"{number:032x}"
        self.cluster(cluster).instances[instance] = ec2
        if address:
            self.machines[ec2] = {"PrivateIpAddress": address, "State": state}
        return arn("container-instance", f"{cluster}/{instance}")

    def run(self, cluster: str, service: str, definition: str, address: str = "", **task: Any) -> str:
        """Starts a task, answers with its id. `address`: of its network interface; `task`: members that differ."""
        number = next(self._numbers)
        id = f"{number:032x}"
        names = [each["name"] for each in self.definitions[definition]["containerDefinitions"]]
        where = self.cluster(cluster)
        where.tasks[id] = {
            "attachments": [_interface(number, address)] if address else [],
            "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
            "availabilityZone": f"{REGION}{'abc'[number % 3]}",
            "clusterArn": arn("cluster", cluster),
            "connectivity": "CONNECTED",
            "connectivityAt": STARTED,
            "containers": [_container(cluster, id, each, number, address) for each in names],
            "cpu": "256",
            "createdAt": STARTED,
            "desiredStatus": "RUNNING",
            "enableExecuteCommand": False,
            "group": f"service:{service}",
            "healthStatus": "HEALTHY",
            "lastStatus": "RUNNING",
            "launchType": "FARGATE",
            "memory": "512",
            "overrides": {"containerOverrides": [{"name": each} for each in names]},
            "platformVersion": "1.4.0",
            "startedAt": STARTED,
            "startedBy": "ecs-svc/1234567890123456789",
            "tags": [],
            "taskArn": arn("task", f"{cluster}/{id}"),
            "taskDefinitionArn": definition,
            "version": 3,
            **task,
        }
        return id

    def change(self, cluster: str, id: str, **members: Any) -> dict[str, Any]:
        """The task as it is afterwards."""
        where = self.cluster(cluster)
        task = where.tasks[id]
        where.tasks[id] = {**task, **members, "version": task["version"] + 1}
        where.rendered.pop(id, None)
        return where.tasks[id]

    def stopping(self, cluster: str, id: str) -> dict[str, Any]:
        """Asked to stop; its containers run."""
        return self.change(cluster, id, desiredStatus="STOPPED", lastStatus="RUNNING", stoppedReason="Scaling activity")

    def stopped(self, cluster: str, id: str) -> dict[str, Any]:
        return self.change(
            cluster, id, desiredStatus="STOPPED", lastStatus="STOPPED", stopCode="ServiceSchedulerInitiated"
        )

    def put(self, cluster: str, service: str, *endpoints: tuple[str, int]) -> None:
        """From now on the service has exactly these tasks, in awsvpc mode and each with its one port."""
        self.service(cluster, service)
        wanted = list(endpoints)
        for id, task in list(self.cluster(cluster).tasks.items()):
            if task["group"] == f"service:{service}" and task["desiredStatus"] == "RUNNING":
                key = (task["attachments"][0]["details"][-1]["value"], self._port(task))
                if key in wanted:
                    wanted.remove(key)
                else:
                    self.stopped(cluster, id)
        for address, port in wanted:
            self.run(cluster, service, self._of(service, port), address)

    def remove(self, cluster: str, service: str) -> None:
        self.put(cluster, service)
        self.cluster(cluster).services[service]["status"] = "INACTIVE"

    def _of(self, service: str, port: int) -> str:
        for name, each in self.definitions.items():
            mappings = each["containerDefinitions"][0]["portMappings"]
            if each["family"] == service and [mapping["containerPort"] for mapping in mappings] == [port]:
                return name
        return self.define(service, {"name": "app", "portMappings": [{"containerPort": port, "protocol": "tcp"}]})

    def _port(self, task: Mapping[str, Any]) -> int:
        mappings = self.definitions[task["taskDefinitionArn"]]["containerDefinitions"][0]["portMappings"]
        port: int = mappings[0]["containerPort"]
        return port


def event(task: Mapping[str, Any]) -> str:
    """What EventBridge makes of a task's change, as it arrives in a queue."""
    times = {
        "createdAt": "2026-11-24T10:00:00Z",
        "startedAt": "2026-11-24T10:00:01Z",
        "connectivityAt": "2026-11-24T10:00:00Z",
    }
    return json.dumps(
        {
            "version": "0",
            "id": "3317b2af-7005-947d-b652-f55e762e571a",
            "detail-type": "ECS Task State Change",
            "source": "aws.ecs",
            "account": ACCOUNT,
            "time": "2026-11-24T10:00:02Z",
            "region": REGION,
            "resources": [task["taskArn"]],
            "detail": {**task, **times, "updatedAt": "2026-11-24T10:00:02Z"},
        }
    )


def _interface(number: int, address: str) -> dict[str, Any]:
    details = {
        "subnetId": "subnet-0123456789abcdef0",
        "networkInterfaceId": f"eni-{number:017x}",
        "macAddress": "0a:98:eb:a7:29:ba",
        "ipv6Address" if ":" in address else "privateIPv4Address": address,
    }
    return {
        "id": f"00000000-0000-0000-0000-{number:012x}",
        "type": "ElasticNetworkInterface",
        "status": "ATTACHED",
        "details": [{"name": name, "value": value} for name, value in details.items()],
    }


def _container(cluster: str, task: str, name: str, number: int, address: str) -> dict[str, Any]:
    member = "ipv6Address" if ":" in address else "privateIpv4Address"
    attachment = f"00000000-0000-0000-0000-{number:012x}"
    return {
        "containerArn": arn("container", f"{cluster}/{task}/{name}"),
        "taskArn": arn("task", f"{cluster}/{task}"),
        "name": name,
        "image": "app:1",
        "runtimeId": f"{task}-527074092",
        "lastStatus": "RUNNING",
        "networkBindings": [],
        "networkInterfaces": [{"attachmentId": attachment, member: address}] if address else [],
        "healthStatus": "HEALTHY",
        "cpu": "0",
    }
