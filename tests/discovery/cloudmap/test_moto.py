"""Against moto, a third party's Cloud Map, and boto3, a third party's client, against our fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config

from discovery.address import Bound, Health, Neg
from discovery.cloudmap.config import CloudMapConfig
from discovery.path import Path
from scripts.moto import REGION, moto
from tests.discovery.contract import ONE, TWO, Key, SourceContract, World, watching
from tests.fakes.cloudmap import fake_cloudmap, refusal
from tests.fakes.cloudmap import instances as at

USERS = Path(("prod", "users"))
FAST = {"every": "10ms", "calls_per_second": 1000, "region": REGION}


@contextmanager
def client(url: str) -> Iterator[Any]:
    once = Config(inject_host_prefix=False, retries={"total_max_attempts": 1})
    made = boto3.client("servicediscovery", endpoint_url=url, region_name=REGION, config=once)
    try:
        yield made
    finally:
        made.close()


class MotoWorld(World):
    def __init__(self, asked: Any) -> None:
        self.client = asked
        self._namespace = ""
        self._services: dict[Path, str] = {}
        self._known: dict[Path, set[Key]] = {}

    def name(self, label: str) -> Path:
        return Path(("prod", label))

    async def put(self, name: Path, *endpoints: Key) -> None:
        await asyncio.to_thread(self._put, name, set(endpoints))

    async def empty(self, name: Path) -> None:
        await self.put(name)

    async def remove(self, name: Path) -> None:
        await self.put(name)
        await asyncio.to_thread(self.client.delete_service, Id=self._services.pop(name))

    async def lose(self, name: Path, *endpoints: Key) -> None:
        """moto's revision is the number of instances: one for another is no change of it."""
        await self.put(name, *endpoints)

    def _put(self, name: Path, wanted: set[Key]) -> None:
        if not self._namespace:
            self.client.create_http_namespace(Name="prod")
            [self._namespace] = [each["Id"] for each in self.client.list_namespaces()["Namespaces"]]
        if name not in self._services:
            made = self.client.create_service(Name=name[1], NamespaceId=self._namespace)
            self._services[name] = made["Service"]["Id"]
        service = self._services[name]
        for number, instance in at(*(wanted - self._known.get(name, set()))).items():
            self.client.register_instance(ServiceId=service, InstanceId=number, Attributes=instance["Attributes"])
        for number in at(*(self._known.get(name, set()) - wanted)):
            self.client.deregister_instance(ServiceId=service, InstanceId=number)
        self._known[name] = wanted


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """One server for all tests of this file, started and ended in a loop of its own."""
    with asyncio.Runner() as runner:
        running = moto()
        started = runner.run(running.__aenter__())
        try:
            yield started.url
        finally:
            runner.run(running.__aexit__(None, None, None))


class TestMotoContract(SourceContract):
    lacks = frozenset({"go_dark", "garble", "halve", "misconfigure", "stall"})

    @pytest.fixture(autouse=True)
    def _server(self, server: str) -> None:
        self.url = server

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        settings = {"kind": "cloudmap", "endpoint_url": self.url, **FAST, "health_every": "200ms"}
        with client(self.url) as asked:
            await asyncio.to_thread(_reset, self.url)
            async with CloudMapConfig.model_validate(settings).open() as source:
                world = MotoWorld(asked)
                world.source = source
                yield world


def _reset(url: str) -> None:
    import urllib.request

    with urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")) as answer:
        assert answer.status == 200


async def test_health_of_motos_instances_comes_and_goes(server: str) -> None:
    settings = {"kind": "cloudmap", "endpoint_url": server, **FAST, "health_every": "100ms"}
    await asyncio.to_thread(_reset, server)
    with client(server) as asked:
        world = MotoWorld(asked)
        await world.put(USERS, ONE, TWO)
        async with CloudMapConfig.model_validate(settings).open() as source, watching(source, USERS) as watch:
            await watch.sees(ONE, TWO)
            [service] = [each["Id"] for each in asked.list_services()["Services"]]
            [sick] = at(ONE)
            for said, health in (("UNHEALTHY", Health.UNHEALTHY), ("HEALTHY", Health.HEALTHY)):
                asked.update_instance_custom_health_status(ServiceId=service, InstanceId=sick, Status=said)
                await watch.until(_is(sick, health), said)


def _is(number: str, health: Health) -> Callable[[Any], bool]:
    def holds(watch: Any) -> bool:
        assert not isinstance(watch.latest, Neg)
        found = watch.latest.endpoints if isinstance(watch.latest, Bound) else ()
        return any(each.origin == number and each.health is health for each in found)

    return holds


async def test_boto3_reads_what_the_fake_answers() -> None:
    async with fake_cloudmap() as fake:
        fake.put("prod", "users", **at(ONE, TWO))
        fake.put("test", "users")
        fake.page = 1
        with client(fake.url) as asked:
            await asyncio.to_thread(_judge, asked)
            fake.refusal = refusal(429, "RequestLimitExceeded", "slow down")
            with pytest.raises(asked.exceptions.RequestLimitExceeded, match="slow down"):
                await asyncio.to_thread(asked.discover_instances, NamespaceName="prod", ServiceName="users")


def _judge(asked: Any) -> None:
    found = asked.discover_instances(NamespaceName="prod", ServiceName="users", HealthStatus="ALL")
    assert {each["InstanceId"]: each["Attributes"] for each in found["Instances"]} == {
        number: instance["Attributes"] for number, instance in at(ONE, TWO).items()
    }
    revision = asked.discover_instances_revision(NamespaceName="prod", ServiceName="users")
    assert revision["InstancesRevision"] == found["InstancesRevision"]
    with pytest.raises(asked.exceptions.ServiceNotFound):
        asked.discover_instances(NamespaceName="prod", ServiceName="nobody")
    with pytest.raises(asked.exceptions.NamespaceNotFound):
        asked.discover_instances_revision(NamespaceName="nowhere", ServiceName="users")
    pages = asked.get_paginator("list_namespaces").paginate()
    assert [each["Name"] for page in pages for each in page["Namespaces"]] == ["prod", "test"]
    of_test = [{"Name": "NAMESPACE_ID", "Values": ["ns-test"]}]
    pages = asked.get_paginator("list_services").paginate(Filters=of_test)
    assert [each["Name"] for page in pages for each in page["Services"]] == ["users"]
