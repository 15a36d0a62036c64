"""What of AWS's answers and events is read, as botocore parses it. There may be more in them than is listed here."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict


class NetworkBinding(TypedDict):
    containerPort: NotRequired[int]
    hostPort: NotRequired[int]
    containerPortRange: NotRequired[str]
    hostPortRange: NotRequired[str]
    protocol: NotRequired[str]


class NetworkInterface(TypedDict):
    privateIpv4Address: NotRequired[str]
    ipv6Address: NotRequired[str]


class ContainerShape(TypedDict):
    name: str
    lastStatus: NotRequired[str]
    networkBindings: NotRequired[list[NetworkBinding]]
    networkInterfaces: NotRequired[list[NetworkInterface]]


class Detail(TypedDict):
    name: NotRequired[str]
    value: NotRequired[str]


class Attachment(TypedDict):
    type: NotRequired[str]
    details: NotRequired[list[Detail]]


class TaskShape(TypedDict):
    taskArn: str
    clusterArn: str
    taskDefinitionArn: str
    lastStatus: str
    desiredStatus: str
    group: NotRequired[str]
    launchType: NotRequired[str]
    availabilityZone: NotRequired[str]
    containerInstanceArn: NotRequired[str]
    healthStatus: NotRequired[str]
    connectivity: NotRequired[str]
    version: NotRequired[int]
    attachments: NotRequired[list[Attachment]]
    containers: NotRequired[list[ContainerShape]]


class PortMapping(TypedDict):
    containerPort: NotRequired[int]
    name: NotRequired[str]
    appProtocol: NotRequired[str]
    protocol: NotRequired[str]


class ContainerDefinition(TypedDict):
    name: str
    portMappings: NotRequired[list[PortMapping]]
    dockerLabels: NotRequired[dict[str, str]]


class DefinitionShape(TypedDict):
    family: str
    revision: int
    networkMode: NotRequired[str]
    containerDefinitions: list[ContainerDefinition]


class Failure(TypedDict):
    arn: NotRequired[str]
    reason: NotRequired[str]


class ServiceShape(TypedDict):
    serviceName: str
    status: str


class InstanceShape(TypedDict):
    containerInstanceArn: str
    ec2InstanceId: NotRequired[str]


class MachineState(TypedDict):
    Name: str


class MachineShape(TypedDict):
    InstanceId: str
    State: MachineState
    PrivateIpAddress: NotRequired[str]
    Ipv6Address: NotRequired[str]


class Reservation(TypedDict):
    Instances: list[MachineShape]


class Envelope(TypedDict):
    source: str
    detail: dict[str, Any]
