"""What ECS and EC2 are asked, in batches. An answer is whole or it is an error."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from discovery.aws.api import Aws
from discovery.aws.failures import Refused
from discovery.dns.together import together
from discovery.ecs import records
from discovery.ecs.endpoints import Machine
from discovery.ecs.records import Definition, Malformed, Task, last
from discovery.source import Unavailable

T = TypeVar("T")

BATCH = 100
_SERVICES = 10
_AT_ONCE = 4
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_EXTERNAL = "mi-"
_GONE = frozenset(("shutting-down", "terminated"))


def is_name(text: str) -> bool:
    """Whether a cluster or a service may be called like this."""
    return _NAME.fullmatch(text) is not None


def is_no_cluster(error: Refused) -> bool:
    return error.code == "ClusterNotFoundException"


@dataclass(frozen=True, slots=True)
class Asking:
    """The questions of a region. Everything raises `SourceError`."""

    aws: Aws

    async def clusters(self) -> list[str]:
        return [last(arn) async for arn in self._pages("list_clusters", "clusterArns")]

    async def services(self, cluster: str) -> list[str]:
        pages = self._pages("list_services", "serviceArns", cluster=cluster, maxResults=BATCH)
        return [last(arn) async for arn in pages]

    async def tasks(self, cluster: str, known: Collection[str]) -> tuple[set[str], list[Task]]:
        """Who was asked for, and the tasks of services among them. `known` are asked for also if they aren't listed."""
        pages = self._pages("list_tasks", "taskArns", cluster=cluster, desiredStatus="RUNNING", maxResults=BATCH)
        asked = {last(arn) async for arn in pages} | set(known)
        batches = _batches(sorted(asked), BATCH)

        async def describe() -> list[Task]:
            return [task for batch in batches for task in await self._described(cluster, batch)]

        # No more at once than there are threads: the other clusters want their turn of the bucket.
        found = await together(describe() for _ in range(_AT_ONCE))
        return asked, [task for each in found for task in each]

    async def definition(self, arn: str) -> Definition:
        return await self._ask(records.definition, "ecs", "describe_task_definition", taskDefinition=arn)

    async def existing(self, cluster: str, services: Collection[str]) -> set[str]:
        """Those of them that exist."""
        found: set[str] = set()
        for batch in _batches(sorted(services), _SERVICES):
            found |= await self._ask(_active, "ecs", "describe_services", cluster=cluster, services=batch)
        return found

    async def machines(self, cluster: str, arns: Collection[str]) -> dict[str, Machine]:
        """The machines of container instances."""
        instances: dict[str, str] = {}
        for batch in _batches(sorted(arns), BATCH):
            instances |= await self._ask(
                _instances, "ecs", "describe_container_instances", cluster=cluster, containerInstances=batch
            )
        ids = {each for each in instances.values() if not each.startswith(_EXTERNAL)}
        machines: dict[str, Machine] = {}
        for batch in _batches(sorted(ids), BATCH):
            machines |= await self._machines(batch)
        return {arn: _machine(arn, instances.get(arn), machines) for arn in arns}

    async def _machines(self, ids: list[str]) -> dict[str, Machine]:
        # As a filter: an id that EC2 does not know any more would make it refuse the whole question.
        named = [{"Name": "instance-id", "Values": ids}]
        found: dict[str, Machine] = {}
        token: dict[str, Any] = {}
        while True:
            answer = await self.aws.call("ec2", "describe_instances", Filters=named, **token)
            found |= _understood(_machines_of, answer, "DescribeInstances")
            if not answer.get("NextToken"):
                return found
            token = {"NextToken": answer["NextToken"]}

    async def _described(self, cluster: str, batch: list[str]) -> list[Task]:
        def read(answer: Mapping[str, Any]) -> list[Task]:
            found, missing = records.tasks(answer), records.missing(answer)
            if len(answer["tasks"]) + missing != len(batch):
                raise Malformed(f"of {len(batch)} tasks there are {len(answer['tasks'])}, and {missing} are missing")
            return found

        return await self._ask(read, "ecs", "describe_tasks", cluster=cluster, tasks=batch)

    async def _pages(self, operation: str, member: str, **parameters: object) -> AsyncIterator[str]:
        token: dict[str, Any] = {}
        seen: set[str] = set()
        while True:
            answer = await self.aws.call("ecs", operation, **parameters, **token)
            for each in _understood(lambda answer: records.strings(answer, member), answer, operation):
                yield each
            following = answer.get("nextToken")
            if not following:
                return
            if following in seen:
                raise Unavailable(f"ECS's answer to {operation} makes no sense: one page follows itself")
            seen.add(following)
            token = {"nextToken": following}

    async def _ask(
        self, read: Callable[[Mapping[str, Any]], T], service: str, operation: str, **parameters: object
    ) -> T:
        return _understood(read, await self.aws.call(service, operation, **parameters), operation)


def _understood(read: Callable[[Mapping[str, Any]], T], answer: Mapping[str, Any], operation: str) -> T:
    try:
        return read(answer)
    except Malformed as error:
        raise Unavailable(f"AWS's answer to {operation} makes no sense: {error}") from error


def _active(answer: Mapping[str, Any]) -> set[str]:
    return {name for name, status in records.services(answer) if status != "INACTIVE"}


def _instances(answer: Mapping[str, Any]) -> dict[str, str]:
    return dict(records.container_instances(answer))


def _machines_of(answer: Mapping[str, Any]) -> dict[str, Machine]:
    return {
        each["InstanceId"]: Machine(each["InstanceId"])
        if each["State"]["Name"] in _GONE
        else Machine(
            each["InstanceId"],
            each.get("PrivateIpAddress") or each.get("Ipv6Address", ""),
            f"EC2 tells no private address of {each['InstanceId']}",
        )
        for each in records.instances(answer)
    }


def _machine(arn: str, instance: str | None, machines: Mapping[str, Machine]) -> Machine:
    if instance is None:
        # Deregistered: ECS has given up what ran there.
        return Machine(last(arn))
    if instance.startswith(_EXTERNAL):
        return Machine(instance, why=f"{instance} is an external instance, and AWS doesn't tell its address")
    return machines.get(instance) or Machine(instance, why=f"EC2 doesn't know {instance} in this region")


def _batches(each: list[str], size: int) -> Iterator[list[str]]:
    return (each[start : start + size] for start in range(0, len(each), size))
