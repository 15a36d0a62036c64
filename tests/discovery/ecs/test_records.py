"""Payloads as AWS documents them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from discovery.address import Health, Protocol
from discovery.ecs import records
from discovery.ecs.records import Binding, Malformed, Mode, Port

# From "Amazon ECS task state change events" in the developer guide, shortened.
EVENT: dict[str, Any] = {
    "version": "0",
    "id": "3317b2af-7005-947d-b652-f55e762e571a",
    "detail-type": "ECS Task State Change",
    "source": "aws.ecs",
    "account": "111122223333",
    "time": "2020-01-23T17:57:58Z",
    "region": "us-west-2",
    "resources": ["arn:aws:ecs:us-west-2:111122223333:task/FargateCluster/c13b4cb40f1f4fe4a2971f76ae5a47ad"],
    "detail": {
        "attachments": [
            {
                "id": "1789bcae-ddfb-4d10-8ebe-8ac87ddba5b8",
                "type": "eni",
                "status": "ATTACHED",
                "details": [
                    {"name": "subnetId", "value": "subnet-abcd1234"},
                    {"name": "networkInterfaceId", "value": "eni-abcd1234"},
                    {"name": "macAddress", "value": "0a:98:eb:a7:29:ba"},
                    {"name": "privateIPv4Address", "value": "10.0.0.139"},
                ],
            }
        ],
        "availabilityZone": "us-west-2c",
        "clusterArn": "arn:aws:ecs:us-west-2:111122223333:cluster/FargateCluster",
        "containers": [
            {
                "containerArn": "arn:aws:ecs:us-west-2:111122223333:container/cf159fd6-3e3f-4a9e-84f9-66cbe726af01",
                "lastStatus": "RUNNING",
                "name": "FargateApp",
                "image": "111122223333.example/hello-repository:latest",
                "runtimeId": "ad64cbc71c7fb31c55507ec24c9f77947132b03d48d9961115cf24f3b7307e1e",
                "taskArn": "arn:aws:ecs:us-west-2:111122223333:task/FargateCluster/c13b4cb40f1f4fe4a2971f76ae5a47ad",
                "networkInterfaces": [
                    {
                        "attachmentId": "1789bcae-ddfb-4d10-8ebe-8ac87ddba5b8",
                        "privateIpv4Address": "10.0.0.139",
                    }
                ],
                "cpu": "0",
            }
        ],
        "createdAt": "2020-01-23T17:57:34.402Z",
        "launchType": "FARGATE",
        "cpu": "256",
        "memory": "512",
        "desiredStatus": "RUNNING",
        "group": "service:sample-fargate",
        "lastStatus": "RUNNING",
        "overrides": {"containerOverrides": [{"name": "FargateApp"}]},
        "connectivity": "CONNECTED",
        "connectivityAt": "2020-01-23T17:57:38.453Z",
        "pullStartedAt": "2020-01-23T17:57:52.103Z",
        "startedAt": "2020-01-23T17:57:58.103Z",
        "pullStoppedAt": "2020-01-23T17:57:55.103Z",
        "updatedAt": "2020-01-23T17:57:58.103Z",
        "taskArn": "arn:aws:ecs:us-west-2:111122223333:task/FargateCluster/c13b4cb40f1f4fe4a2971f76ae5a47ad",
        "taskDefinitionArn": "arn:aws:ecs:us-west-2:111122223333:task-definition/sample-fargate:1",
        "version": 4,
        "platformVersion": "1.3.0",
    },
}
DETAIL: dict[str, Any] = EVENT["detail"]


def task(**members: object) -> records.Task:
    (found,) = records.tasks({"tasks": [{**DETAIL, **members}], "failures": []})
    return found


def event(**members: object) -> tuple[str, records.Task | None] | None:
    return records.event(json.dumps({**EVENT, "detail": {**DETAIL, **members}}))


def test_an_event_tells_of_a_task() -> None:
    heard = event()
    assert heard is not None
    cluster, found = heard
    assert cluster == "FargateCluster"
    assert found is not None
    assert (found.id, found.service) == ("c13b4cb40f1f4fe4a2971f76ae5a47ad", "sample-fargate")
    assert (found.address, found.zone, found.version) == ("10.0.0.139", "us-west-2c", 4)
    assert found.running
    assert not found.draining
    assert found.health is None


def test_an_event_about_something_else_is_none() -> None:
    assert records.event(json.dumps({**EVENT, "detail": {"eventName": "SERVICE_STEADY_STATE"}})) is None
    assert event(group="family:batch") == ("FargateCluster", None)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("", "no JSON"),
        ("[]", "the event"),
        ('{"source": "aws.ecs"}', "the event.detail: Field required"),
        (
            json.dumps({**EVENT, "detail": {**DETAIL, "lastStatus": 1}}),
            "detail.lastStatus: Input should be a valid string",
        ),
        (json.dumps({**EVENT, "detail": {**DETAIL, "containers": [{}]}}), r"detail.containers.0.name: Field required"),
    ],
)
def test_an_event_that_makes_no_sense_says_where(body: str, place: str) -> None:
    with pytest.raises(Malformed, match=place):
        records.event(body)


@pytest.mark.parametrize(
    ("last", "desired", "running", "draining"),
    [
        ("PROVISIONING", "RUNNING", False, False),
        ("PENDING", "RUNNING", False, False),
        ("ACTIVATING", "RUNNING", False, False),
        ("RUNNING", "RUNNING", True, False),
        ("RUNNING", "STOPPED", True, True),
        ("DEACTIVATING", "STOPPED", True, True),
        ("STOPPING", "STOPPED", True, True),
        ("DEPROVISIONING", "STOPPED", False, True),
        ("STOPPED", "STOPPED", False, True),
        ("PENDING", "STOPPED", False, True),
    ],
)
def test_a_task_runs_from_running_until_its_containers_have_ended(
    last: str, desired: str, running: bool, draining: bool
) -> None:
    found = task(lastStatus=last, desiredStatus=desired)
    assert (found.running, found.draining) == (running, draining)


def test_a_task_without_a_service_is_left_out() -> None:
    assert records.tasks({"tasks": [{**DETAIL, "group": "family:batch"}], "failures": []}) == []


@pytest.mark.parametrize(
    ("said", "health"), [("HEALTHY", Health.HEALTHY), ("UNHEALTHY", Health.UNHEALTHY), ("?", Health.UNKNOWN)]
)
def test_health_is_read(said: str, health: Health) -> None:
    assert task(healthStatus=said).health is health


def test_the_address_is_that_of_the_interface_whichever_way_it_is_told() -> None:
    assert task().address == "10.0.0.139"
    assert task(attachments=[]).address == "10.0.0.139"
    assert task(attachments=[], containers=[]).address == ""
    six = [{"name": "app", "networkInterfaces": [{"ipv6Address": "2001:db8::1"}]}]
    assert task(attachments=[], containers=six).address == "2001:db8::1"
    assert (
        task(attachments=[{"type": "eni", "details": [{"name": "ipv6Address", "value": "2001:db8::2"}]}]).address
        == "2001:db8::2"
    )


def test_bindings_are_of_single_ports_and_of_ranges_and_of_tcp() -> None:
    bindings = [
        {"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"},
        {"bindIP": "0.0.0.0", "containerPort": 53, "hostPort": 32769, "protocol": "udp"},
        {"bindIP": "0.0.0.0", "containerPortRange": "9000-9009", "hostPortRange": "40000-40009", "protocol": "tcp"},
    ]
    (container,) = task(containers=[{"name": "app", "networkBindings": bindings}]).containers
    assert container.bindings == (Binding(80, 32768), Binding(9000, 40000, 10))
    with pytest.raises(Malformed, match="networkBindings: ports expected"):
        task(containers=[{"name": "app", "networkBindings": [{"containerPort": 80}]}])


def test_a_definition_tells_its_ports_of_tcp() -> None:
    mappings = [
        {"containerPort": 8080, "hostPort": 8080, "protocol": "tcp", "name": "http", "appProtocol": "grpc"},
        {"containerPort": 53, "protocol": "udp"},
        {"containerPortRange": "9000-9009", "protocol": "tcp"},
    ]
    containers = [
        {"name": "web", "portMappings": mappings, "dockerLabels": {"tieline.port": "8080"}},
        {"name": "side"},
    ]
    shape = {"family": "users", "revision": 7, "networkMode": "awsvpc", "containerDefinitions": containers}
    found = records.definition({"taskDefinition": shape})
    assert (found.revision, found.mode, found.label) == ("users:7", Mode.AWSVPC, "8080")
    assert found.ports == (Port("web", 8080, "http", Protocol.GRPC),)
    unsaid = {key: value for key, value in shape.items() if key != "networkMode"}
    assert records.definition({"taskDefinition": unsaid}).mode is Mode.BRIDGE
    with pytest.raises(Malformed, match="networkMode"):
        records.definition({"taskDefinition": {**shape, "networkMode": "pigeon"}})


def test_a_failure_other_than_missing_is_no_absence() -> None:
    assert records.missing({"failures": [{"arn": "a", "reason": "MISSING"}]}) == 1
    with pytest.raises(Malformed, match="failures: INTERNAL"):
        records.missing({"failures": [{"arn": "a", "reason": "INTERNAL"}]})


@pytest.mark.parametrize("answer", [{}, {"taskArns": "arn"}, {"taskArns": [1]}])
def test_what_is_missing_or_of_another_kind_is_malformed(answer: dict[str, object]) -> None:
    with pytest.raises(Malformed, match="taskArns"):
        records.strings(answer, "taskArns")


def test_services_and_machines_are_read() -> None:
    services = [{"serviceName": "users", "status": "ACTIVE", "desiredCount": 1}]
    assert records.services({"services": services, "failures": []}) == [("users", "ACTIVE")]
    listed = [{"containerInstanceArn": "a", "ec2InstanceId": "i-1"}, {"containerInstanceArn": "b"}]
    assert records.container_instances({"containerInstances": listed, "failures": []}) == [("a", "i-1"), ("b", "")]
    machine = {"InstanceId": "i-1", "State": {"Code": 16, "Name": "running"}, "PrivateIpAddress": "10.1.0.1"}
    (found,) = records.instances({"Reservations": [{"Instances": [machine]}]})
    assert (found["InstanceId"], found["State"]["Name"], found["PrivateIpAddress"]) == ("i-1", "running", "10.1.0.1")
