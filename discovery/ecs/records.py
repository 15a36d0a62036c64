"""Answers of ECS and EC2, and EventBridge's events -> tasks, task definitions, machines. Pure.

API: DescribeTasks, DescribeTaskDefinition, DescribeContainerInstances, DescribeInstances; the `detail` of an event
"ECS Task State Change" has the shape of a task.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from sys import intern
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from discovery.address import Health, Protocol
from discovery.ecs.shapes import (
    ContainerDefinition,
    ContainerShape,
    DefinitionShape,
    Envelope,
    Failure,
    InstanceShape,
    MachineShape,
    NetworkBinding,
    Reservation,
    ServiceShape,
    TaskShape,
)

T = TypeVar("T")

GROUP = "service:"
_PROTOCOLS = {"http": Protocol.HTTP1, "http2": Protocol.HTTP2, "grpc": Protocol.GRPC}
_ALIVE = frozenset(("RUNNING", "DEACTIVATING", "STOPPING"))
"""After that a task's containers have ended."""
_HEALTH = {"HEALTHY": Health.HEALTHY, "UNHEALTHY": Health.UNHEALTHY}


class Malformed(ValueError):
    """Not what AWS answers; the text says where."""


class Mode(Enum):
    AWSVPC = "awsvpc"
    BRIDGE = "bridge"
    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Binding:
    """`count` container ports from `container_port` on are reached at as many from `host_port` on."""

    container_port: int
    host_port: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    running: bool
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """`id`: the last part of its ARN. `health`: None where the event does not say. `address`: '' unless awsvpc."""

    id: str
    service: str
    definition: str
    launch_type: str
    zone: str
    instance: str
    """The ARN of the container instance, '' on Fargate."""
    running: bool
    """Its containers run, if only for the time of draining."""
    draining: bool
    health: Health | None
    connected: bool
    version: int
    address: str
    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True)
class Port:
    container: str
    number: int
    name: str = ""
    protocol: Protocol | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """`ports`: those of TCP. `label`: what a container's label `tieline.port` says."""

    revision: str
    mode: Mode
    containers: tuple[str, ...]
    ports: tuple[Port, ...]
    label: str = ""


_ENVELOPE = TypeAdapter(Envelope)
_TASK = TypeAdapter(TaskShape)
_TASKS = TypeAdapter(list[TaskShape])
_FAILURES = TypeAdapter(list[Failure])
_STRINGS = TypeAdapter(list[str])
_DEFINITION = TypeAdapter(DefinitionShape)
_SERVICES = TypeAdapter(list[ServiceShape])
_INSTANCES = TypeAdapter(list[InstanceShape])
_RESERVATIONS = TypeAdapter(list[Reservation])


def strings(answer: Mapping[str, object], member: str) -> list[str]:
    return _member(_STRINGS, answer, member)


def tasks(answer: Mapping[str, object]) -> list[Task]:
    """Of `DescribeTasks`; those that belong to no service are left out."""
    return [_task(shape) for shape in _member(_TASKS, answer, "tasks") if shape.get("group", "").startswith(GROUP)]


def missing(answer: Mapping[str, object]) -> int:
    """How many of what was asked for don't exist. Any other failure is raised: those may well exist."""
    failures = _member(_FAILURES, answer, "failures")
    if reasons := {str(each.get("reason")) for each in failures} - {"MISSING"}:
        raise Malformed(f"failures: {', '.join(sorted(reasons))}")
    return len(failures)


def definition(answer: Mapping[str, object]) -> Definition:
    shape = _member(_DEFINITION, answer, "taskDefinition")
    try:
        mode = Mode(shape.get("networkMode") or "bridge")
    except ValueError as error:
        raise Malformed(f"taskDefinition.networkMode: {error}") from None
    listed = shape["containerDefinitions"]
    labels = [label for each in listed if (label := each.get("dockerLabels", {}).get("tieline.port"))]
    return Definition(
        revision=f"{shape['family']}:{shape['revision']}",
        mode=mode,
        containers=tuple(each["name"] for each in listed),
        ports=tuple(port for each in listed for port in _ports(each)),
        label=labels[0] if labels else "",
    )


def services(answer: Mapping[str, object]) -> list[tuple[str, str]]:
    """Names and statuses."""
    missing(answer)
    return [(each["serviceName"], each["status"]) for each in _member(_SERVICES, answer, "services")]


def container_instances(answer: Mapping[str, object]) -> list[tuple[str, str]]:
    """ARNs, and the ids of their machines."""
    missing(answer)
    listed = _member(_INSTANCES, answer, "containerInstances")
    return [(each["containerInstanceArn"], each.get("ec2InstanceId", "")) for each in listed]


def instances(answer: Mapping[str, object]) -> list[MachineShape]:
    """Of EC2's `DescribeInstances`."""
    reservations = _member(_RESERVATIONS, answer, "Reservations")
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def event(body: str) -> tuple[str, Task | None] | None:
    """The cluster's name and the task; None: about something else. Body of an SQS message that EventBridge sent."""
    try:
        envelope = _ENVELOPE.validate_python(json.loads(body))
    except ValidationError as error:
        raise _malformed(error, "the event") from None
    except ValueError as error:
        raise Malformed(f"the event is no JSON: {error}") from None
    if "taskArn" not in envelope["detail"]:
        return None
    shape = _parsed(_TASK, envelope["detail"], "detail")
    is_of_service = shape.get("group", "").startswith(GROUP)
    return last(shape["clusterArn"]), _task(shape) if is_of_service else None


def last(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _task(shape: TaskShape) -> Task:
    status, asked_to_stop = shape["lastStatus"], shape["desiredStatus"] == "STOPPED"
    health = shape.get("healthStatus")
    return Task(
        id=last(shape["taskArn"]),
        service=intern(shape.get("group", "").removeprefix(GROUP)),
        definition=intern(shape["taskDefinitionArn"]),
        launch_type=intern(shape.get("launchType", "")),
        zone=intern(shape.get("availabilityZone", "")),
        instance=intern(shape.get("containerInstanceArn", "")),
        running=status == "RUNNING" or (asked_to_stop and status in _ALIVE),
        draining=asked_to_stop,
        health=_HEALTH.get(health, Health.UNKNOWN) if health else None,
        connected=shape.get("connectivity") != "DISCONNECTED",
        version=shape.get("version", 0),
        address=_address(shape),
        containers=tuple(_container(each) for each in shape.get("containers", ())),
    )


def _container(shape: ContainerShape) -> Container:
    bindings = tuple(_binding(each) for each in shape.get("networkBindings", ()) if each.get("protocol") != "udp")
    return Container(intern(shape["name"]), shape.get("lastStatus", "RUNNING") == "RUNNING", bindings)


def _binding(shape: NetworkBinding) -> Binding:
    if "containerPort" in shape and "hostPort" in shape:
        return Binding(shape["containerPort"], shape["hostPort"])
    try:
        first, end = map(int, shape["containerPortRange"].split("-"))
        return Binding(first, int(shape["hostPortRange"].split("-")[0]), end - first + 1)
    except (KeyError, ValueError):
        raise Malformed(f"networkBindings: ports expected, not {shape}") from None


def _address(shape: TaskShape) -> str:
    """Of its network interface, which is one for all containers of a task."""
    for attachment in shape.get("attachments", ()):
        details = {each.get("name"): each.get("value", "") for each in attachment.get("details", ())}
        if found := details.get("privateIPv4Address") or details.get("ipv6Address"):
            return found
    interfaces = [each for container in shape.get("containers", ()) for each in container.get("networkInterfaces", ())]
    addresses = (each.get("privateIpv4Address") or each.get("ipv6Address", "") for each in interfaces)
    return next(filter(None, addresses), "")


def _ports(shape: ContainerDefinition) -> Iterable[Port]:
    for each in shape.get("portMappings", ()):
        if "containerPort" in each and each.get("protocol", "tcp") == "tcp":
            protocol = _PROTOCOLS.get(each.get("appProtocol", ""))
            yield Port(shape["name"], each["containerPort"], each.get("name", ""), protocol)


def _member(adapter: TypeAdapter[T], answer: Mapping[str, object], member: str) -> T:
    if member not in answer:
        raise Malformed(f"{member} is missing")
    return _parsed(adapter, answer[member], member)


def _parsed(adapter: TypeAdapter[T], value: object, place: str) -> T:
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        raise _malformed(error, place) from None


def _malformed(error: ValidationError, place: str) -> Malformed:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return Malformed(f"{'.'.join((place, *map(str, first['loc'])))}: {first['msg']}")
