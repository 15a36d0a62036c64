"""The ECS source against a fake of ECS that botocore judges."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from discovery.address import Bound, Endpoint, Health, Protocol
from discovery.ecs.config import EcsConfig
from discovery.ecs.source import EcsSource
from discovery.path import Path
from discovery.source import Misconfigured, SourceError, Unavailable
from tests.discovery.contract import ONE, TWO, Key, SourceContract, Watch, World, watching
from tests.fakes.ecs import OPERATIONS, FakeEcs, fake_ecs, fill
from tests.manual import ROOT

CLUSTER = "prod"


@dataclass
class EcsWorld(World):
    fake: FakeEcs
    source: EcsSource

    def name(self, label: str) -> Path:
        return Path((CLUSTER, label))

    async def put(self, name: Path, *endpoints: Key) -> None:
        self.fake.state.put(name[0], name[1], *endpoints)

    async def remove(self, name: Path) -> None:
        self.fake.state.remove(name[0], name[1])

    async def empty(self, name: Path) -> None:
        self.fake.state.service(name[0], name[1])

    async def go_dark(self) -> None:
        self.fake.fault = "dark"

    async def come_back(self) -> None:
        self.fake.fault = ""

    async def garble(self, name: Path) -> None:
        self.fake.fault = "garbage"

    async def halve(self, name: Path) -> None:
        self.fake.fault = "half"

    async def misconfigure(self) -> None:
        self.fake.fault = "denied"

    async def stall(self) -> None:
        self.fake.fault = "stall"

    async def lose(self, name: Path, *endpoints: Key) -> None:
        await self.put(name, *endpoints)


@asynccontextmanager
async def world(**settings: object) -> AsyncIterator[EcsWorld]:
    async with fake_ecs() as fake:
        fake.state.cluster(CLUSTER)
        given = {"region": "eu-west-1", "endpoint_url": fake.url, "calls_per_second": 1000, "poll_min": 0.05}
        config = EcsConfig.model_validate({**given, "poll_max": 0.1, **settings})
        async with config.open() as source:
            yield EcsWorld(fake, source)


class TestEcsContract(SourceContract):
    def open_world(self) -> AbstractAsyncContextManager[World]:
        return world()


USERS = Path((CLUSTER, "users"))
WEB = {
    "name": "web",
    "portMappings": [{"containerPort": 8080, "protocol": "tcp", "name": "http", "appProtocol": "http2"}],
}
SIDECAR = {"name": "sidecar", "portMappings": [{"containerPort": 9901, "protocol": "tcp"}]}


def named(port: str) -> Path:
    return Path((*USERS, port))


async def first(source: EcsSource, name: Path) -> tuple[Endpoint, ...]:
    async with watching(source, name) as watch:
        await watch.until(lambda watch: bool(watch.published), "a first truth")
        assert isinstance(watch.latest, Bound)
        return watch.latest.endpoints


async def failure(source: EcsSource, name: Path) -> SourceError:
    async with watching(source, name) as watch:
        error = await watch.ends()
        assert watch.published == []
        return error


async def sees_health(watch: Watch, health: Health) -> None:
    def is_so(watch: Watch) -> bool:
        return isinstance(watch.latest, Bound) and {each.health for each in watch.latest.endpoints} == {health}

    await watch.until(is_so, f"an endpoint that is {health.value}")


async def test_an_endpoint_of_fargate_says_what_ecs_says() -> None:
    async with world() as it:
        state = it.fake.state
        state.service(CLUSTER, "users")
        id = state.run(CLUSTER, "users", state.define("users", WEB), "10.0.0.1", availabilityZone="eu-west-1b")
        (endpoint,) = await first(it.source, USERS)
        assert endpoint == Endpoint(
            "10.0.0.1",
            8080,
            zone="eu-west-1b",
            health=Health.HEALTHY,
            host=id,
            protocol=Protocol.HTTP2,
            metadata=(("launch_type", "FARGATE"), ("task_definition", "users:1")),
            origin=id,
        )


async def test_a_task_behind_a_bridge_is_reached_at_its_machine_and_the_bound_port() -> None:
    async with world() as it:
        state = it.fake.state
        definition = state.define("users", WEB, mode="bridge")
        for address, port in (("10.1.0.1", 32768), ("10.1.0.1", 32769), ("10.1.0.2", 32768)):
            instance = machine(it.fake, address)
            id = state.run(CLUSTER, "users", definition, launchType="EC2", containerInstanceArn=instance)
            bind(it.fake, id, "web", 8080, port)
        found = await first(it.source, named("http"))
        assert [each.key for each in found] == [("10.1.0.1", 32768), ("10.1.0.1", 32769), ("10.1.0.2", 32768)]
        assert all(each.host.startswith("i-") for each in found)
        assert it.fake.counted()["DescribeInstances"] == 1


async def test_a_task_in_its_hosts_network_is_reached_at_the_container_port() -> None:
    async with world() as it:
        state, instance = it.fake.state, machine(it.fake, "10.1.0.1")
        definition = state.define("users", WEB, mode="host")
        state.run(CLUSTER, "users", definition, launchType="EC2", containerInstanceArn=instance)
        assert [each.key for each in await first(it.source, USERS)] == [("10.1.0.1", 8080)]


async def test_the_address_of_an_external_instance_is_not_invented() -> None:
    async with world() as it:
        state = it.fake.state
        instance = state.machine(CLUSTER, "", id="mi-0123456789abcdef0")
        definition = state.define("users", WEB, mode="host")
        state.run(CLUSTER, "users", definition, launchType="EXTERNAL", containerInstanceArn=instance)
        error = await failure(it.source, USERS)
        assert isinstance(error, Misconfigured)
        assert "mi-0123456789abcdef0 is an external instance" in str(error)


async def test_what_ran_on_a_machine_that_is_no_more_is_no_endpoint() -> None:
    async with world() as it:
        state = it.fake.state
        definition = state.define("users", WEB, mode="host")
        for instance in (
            state.machine(CLUSTER, "10.1.0.1", state="terminated"),
            f"arn:aws:ecs:eu-west-1:1:container-instance/{CLUSTER}/deregistered",
            state.machine(CLUSTER, "10.1.0.2"),
        ):
            state.run(CLUSTER, "users", definition, launchType="EC2", containerInstanceArn=instance)
        assert [each.key for each in await first(it.source, USERS)] == [("10.1.0.2", 8080)]


@pytest.mark.parametrize("port", ["8080", "http", "web"])
async def test_a_port_is_named_by_its_number_its_name_or_its_container(port: str) -> None:
    async with world() as it:
        state = it.fake.state
        state.run(CLUSTER, "users", state.define("users", SIDECAR, WEB), "10.0.0.1")
        assert [each.port for each in await first(it.source, named(port))] == [8080]


async def test_a_name_without_a_port_is_refused_where_there_are_several_and_only_that_name() -> None:
    async with world() as it:
        state = it.fake.state
        state.run(CLUSTER, "users", state.define("users", SIDECAR, WEB), "10.0.0.1")
        async with watching(it.source, named("http")) as other:
            await other.sees(("10.0.0.1", 8080))
            error = await failure(it.source, USERS)
            assert isinstance(error, Misconfigured)
            assert "9901 (sidecar), 8080 (http)" in str(error)
            assert other.error is None


async def test_the_port_of_the_configuration_is_for_names_that_say_none() -> None:
    async with world(port=9901) as it:
        state = it.fake.state
        state.run(CLUSTER, "users", state.define("users", SIDECAR, WEB), "10.0.0.1")
        assert [each.port for each in await first(it.source, USERS)] == [9901]


async def test_a_task_that_is_asked_to_stop_drains_and_then_goes() -> None:
    async with world() as it:
        await it.put(USERS, ONE)
        (id,) = it.fake.state.cluster(CLUSTER).tasks
        async with watching(it.source, USERS) as watch:
            await sees_health(watch, Health.HEALTHY)
            it.fake.state.stopping(CLUSTER, id)
            await sees_health(watch, Health.DRAINING)
            it.fake.state.change(CLUSTER, id, lastStatus="STOPPED")
            await watch.sees()


async def test_a_task_that_ecs_has_forgotten_is_gone() -> None:
    async with world() as it:
        await it.put(USERS, ONE, TWO)
        cluster = it.fake.state.cluster(CLUSTER)
        async with watching(it.source, USERS) as watch:
            await watch.sees(ONE, TWO)
            del cluster.tasks[next(iter(cluster.tasks))]
            await watch.sees(TWO)


async def test_health_is_told_as_ecs_sees_it() -> None:
    async with world() as it:
        await it.put(USERS, ONE)
        (id,) = it.fake.state.cluster(CLUSTER).tasks
        async with watching(it.source, USERS) as watch:
            await sees_health(watch, Health.HEALTHY)
            for said, health in (("UNHEALTHY", Health.UNHEALTHY), ("UNKNOWN", Health.UNKNOWN)):
                it.fake.state.change(CLUSTER, id, healthStatus=said)
                await sees_health(watch, health)


async def test_a_task_that_does_not_run_yet_is_no_endpoint() -> None:
    async with world() as it:
        state = it.fake.state
        definition = state.define("users", WEB)
        state.run(CLUSTER, "users", definition, "10.0.0.1", lastStatus="ACTIVATING")
        state.run(CLUSTER, "users", definition, "10.0.0.2")
        assert [each.address for each in await first(it.source, USERS)] == ["10.0.0.2"]


async def test_tasks_are_listed_and_described_by_the_hundred() -> None:
    async with world(poll_min="1h", poll_max="1h") as it:
        fill(it.fake.state, CLUSTER, 5, 50)
        assert len(await first(it.source, Path((CLUSTER, "s3")))) == 50
        assert it.fake.counted() == {"ListTasks": 3, "DescribeTasks": 3, "DescribeTaskDefinition": 1}


@pytest.mark.parametrize("operation", ["ListTasks", "DescribeTasks", "DescribeTaskDefinition"])
@pytest.mark.parametrize("fault", ["cut", "error", "expired", "half", "garbage"])
async def test_an_answer_that_fails_fails_the_whole_read(operation: str, fault: str) -> None:
    async with world() as it:
        await it.put(USERS, ONE)
        it.fake.fault, it.fake.only = fault, operation
        assert isinstance(await failure(it.source, USERS), Unavailable)


async def test_a_task_that_can_not_be_described_is_not_a_task_that_is_gone() -> None:
    async with world() as it:
        await it.put(USERS, ONE, TWO)
        async with watching(it.source, USERS) as watch:
            await watch.sees(ONE, TWO)
            it.fake.failing[next(iter(it.fake.state.cluster(CLUSTER).tasks))] = "INTERNAL"
            assert "INTERNAL" in str(await watch.ends())


async def test_a_cluster_that_does_not_exist_has_no_names_until_it_does() -> None:
    async with world() as it:
        name = Path(("later", "users"))
        async with watching(it.source, name) as watch:
            await watch.sees_none()
            await it.put(name, ONE)
            await watch.sees(ONE)


@pytest.mark.parametrize("name", [Path(("pr od", "users")), Path((CLUSTER, "us:ers")), Path((CLUSTER, "x" * 256))])
async def test_what_can_not_be_the_name_of_a_service_is_not_asked_for(name: Path) -> None:
    async with world() as it:
        async with watching(it.source, name) as watch:
            await watch.sees_none()
        assert it.fake.calls == []


async def test_a_denial_names_the_action_to_allow() -> None:
    async with world() as it:
        await it.put(USERS, ONE)
        it.fake.fault, it.fake.only = "denied", "DescribeTasks"
        assert "allow ecs:DescribeTasks" in str(await failure(it.source, USERS))


async def test_a_denial_at_ec2_concerns_only_those_who_need_a_machine() -> None:
    async with world() as it:
        state, instance = it.fake.state, machine(it.fake, "10.1.0.1")
        await it.put(USERS, ONE)
        definition = state.define("old", WEB, mode="host")
        state.run(CLUSTER, "old", definition, launchType="EC2", containerInstanceArn=instance)
        it.fake.fault, it.fake.only = "denied", "DescribeInstances"
        async with watching(it.source, USERS) as watch:
            await watch.sees(ONE)
            error = await failure(it.source, Path((CLUSTER, "old")))
            assert isinstance(error, Misconfigured)
            assert "allow ec2:DescribeInstances" in str(error)
            assert watch.error is None


async def test_a_call_that_is_throttled_is_made_again_and_nobody_notices() -> None:
    async with world() as it:
        await it.put(USERS, ONE)
        async with watching(it.source, USERS) as watch:
            await watch.sees(ONE)
            it.fake.fault, it.fake.times = "throttled", 4
            await it.put(USERS, ONE, TWO)
            await watch.sees(ONE, TWO)
            assert watch.error is None
            assert it.fake.times == 0


async def test_who_is_throttled_for_long_is_told_so() -> None:
    async with world() as it:
        await it.put(USERS, ONE)
        it.fake.fault = "throttled"
        error = await failure(it.source, USERS)
        assert isinstance(error, Unavailable)
        assert "AWS throttles ecs:ListTasks" in str(error)


async def test_one_pace_is_shared_by_all_clusters_and_sources_of_an_account() -> None:
    async with world(calls_per_second=20) as it:
        given = {"region": "eu-west-1", "endpoint_url": it.fake.url, "calls_per_second": 20}
        for cluster in ("one", "two", "three"):
            fill(it.fake.state, cluster, 1, 400)
        async with EcsConfig.model_validate(given).open() as second, asyncio.TaskGroup() as group:
            for source, cluster in ((it.source, "one"), (it.source, "two"), (second, "three")):
                group.create_task(first(source, Path((cluster, "s0"))))
        times = [at for at, _ in it.fake.calls]
        assert len(times) > 20
        assert max(sum(begin <= at < begin + 1 for at in times) for begin in times) <= 20


async def test_five_thousand_tasks_are_a_hundred_calls() -> None:
    async with world(poll_min="1h", poll_max="1h") as it:
        fill(it.fake.state, CLUSTER, 50, 100)
        async with watching(it.source, Path((CLUSTER, "s49"))) as watch:
            await watch.until(lambda watch: isinstance(watch.latest, Bound), "an answer")
            assert isinstance(watch.latest, Bound)
            assert len(watch.latest.endpoints) == 100
        assert it.fake.counted() == {"ListTasks": 50, "DescribeTasks": 50, "DescribeTaskDefinition": 1}


async def test_only_clusters_that_are_observed_are_asked_for() -> None:
    async with world() as it:
        await it.put(USERS, ONE)
        await first(it.source, USERS)
        asked = len(it.fake.calls)
        await asyncio.sleep(0.3)  # three polls
        assert len(it.fake.calls) - asked <= 1


async def test_the_catalogue_lists_all_pages_of_all_clusters() -> None:
    async with world() as it:
        for number in range(101):
            it.fake.state.service(f"c{number}", "web")
        for number in range(101):
            it.fake.state.service("c7", f"s{number}")
        assert len(set(await it.source.names())) == 101 + 101


async def test_every_answer_of_the_fake_is_one_that_botocore_knows() -> None:
    """Third party: botocore's model of ECS knows every member, and of the right type."""
    loader = Loader()
    model = ServiceModel(loader.load_service_model("ecs", "service-2"), "ecs")
    fake = FakeEcs()
    fill(fake.state, CLUSTER, 1, 3)
    ids = list(fake.state.cluster(CLUSTER).tasks)
    asked: dict[str, dict[str, object]] = {
        "ListClusters": {},
        "ListServices": {"cluster": CLUSTER},
        "DescribeServices": {"cluster": CLUSTER, "services": ["s0", "nope"]},
        "ListTasks": {"cluster": CLUSTER, "desiredStatus": "RUNNING"},
        "DescribeTasks": {"cluster": CLUSTER, "tasks": [*ids, "nope"]},
        "DescribeTaskDefinition": {"taskDefinition": next(iter(fake.state.definitions))},
        "DescribeContainerInstances": {
            "cluster": CLUSTER,
            "containerInstances": [fake.state.machine(CLUSTER, "10.1.0.1"), "nope"],
        },
    }
    for operation, parameters in asked.items():
        answer = json.loads(OPERATIONS[operation][0](fake, parameters))
        shape = model.operation_model(operation).output_shape
        assert list(unknown(answer, shape, operation)) == []


def unknown(value: object, shape: Any, place: str) -> Iterator[str]:
    """Where it is not as the model says."""
    kinds = {"string": str, "integer": int, "boolean": bool, "timestamp": float, "structure": dict, "list": list}
    if not isinstance(value, kinds.get(shape.type_name, object)):
        yield f"{place}: {shape.type_name} expected"
    elif shape.type_name == "structure" and isinstance(value, dict):
        for member, each in value.items():
            if member in shape.members:
                yield from unknown(each, shape.members[member], f"{place}.{member}")
            else:
                yield f"{place}.{member}"
    elif shape.type_name == "list" and isinstance(value, list):
        for each in value:
            yield from unknown(each, shape.member, place)


def machine(fake: FakeEcs, address: str) -> str:
    return fake.state.machine(CLUSTER, address)


def bind(fake: FakeEcs, id: str, container: str, port: int, host_port: int) -> None:
    listed = fake.state.cluster(CLUSTER).tasks[id]["containers"]
    binding = {"bindIP": "0.0.0.0", "containerPort": port, "hostPort": host_port, "protocol": "tcp"}
    changed = [{**each, "networkBindings": [binding]} if each["name"] == container else each for each in listed]
    fake.state.change(CLUSTER, id, containers=changed)


async def test_the_fake_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.fakes.ecs", "--port", "0", "--cluster", CLUSTER, "--tasks", "3"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        async with EcsConfig.model_validate({"region": "eu-west-1", "endpoint_url": url}).open() as source:
            assert len(await first(source, Path((CLUSTER, "s0")))) == 3
    finally:
        process.terminate()
        await process.wait()
