"""Against a fake: faults, and what moto does not do. `test_moto` is the other half."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from discovery.address import Bound, Health, Neg
from discovery.cloudmap.config import CloudMapConfig
from discovery.cloudmap.source import CloudMapSource
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable
from tests.discovery.contract import ONE, THREE, TWO, Key, SourceContract, World, watching
from tests.fakes.cloudmap import FakeCloudMap, fake_cloudmap, refusal
from tests.fakes.cloudmap import instances as at

USERS = Path(("prod", "users"))
FAST = {"every": "10ms", "calls_per_second": 1000, "region": "eu-west-1"}


def config(fake: FakeCloudMap, **more: object) -> CloudMapConfig:
    return CloudMapConfig.model_validate({"kind": "cloudmap", "endpoint_url": fake.url, **FAST, **more})


class FakeWorld(World):
    def __init__(self, fake: FakeCloudMap) -> None:
        self.fake = fake

    def name(self, label: str) -> Path:
        return Path(("prod", label))

    async def put(self, name: Path, *endpoints: Key) -> None:
        self.fake.put(*name, **at(*endpoints))

    async def remove(self, name: Path) -> None:
        self.fake.remove(*name)

    async def empty(self, name: Path) -> None:
        self.fake.put(*name)

    async def go_dark(self) -> None:
        await self.fake.stop()

    async def come_back(self) -> None:
        await self.fake.start()

    async def garble(self, name: Path) -> None:
        self.fake.body = b"<html>busy</html>"

    async def misconfigure(self) -> None:
        self.fake.refusal = refusal(400, "AccessDeniedException", "not authorized to perform")

    async def halve(self, name: Path) -> None:
        self.fake.halve()

    async def stall(self) -> None:
        self.fake.stall()

    async def lose(self, name: Path, *endpoints: Key) -> None:
        self.fake.lose(*name, **at(*endpoints))


class TestCloudMapContract(SourceContract):
    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        async with fake_cloudmap() as fake, config(fake, health_every="1h").open() as source:
            world = FakeWorld(fake)
            world.source = source
            yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeCloudMap]:
    async with fake_cloudmap() as running:
        running.put("prod", "users", **at(ONE))
        yield running


@asynccontextmanager
async def opened(fake: FakeCloudMap, **more: object) -> AsyncIterator[CloudMapSource]:
    async with config(fake, **more).open() as source:
        yield source


async def test_the_instances_are_asked_for_again_only_when_the_revision_is_another(fake: FakeCloudMap) -> None:
    async with opened(fake, health_every="1h") as source, watching(source, USERS) as watch:
        await fake.has_been_asked("DiscoverInstancesRevision", 5)
        assert fake.count("DiscoverInstances") == 1
        fake.put("prod", "users", **at(TWO))
        await watch.sees(TWO)
        assert fake.count("DiscoverInstances") == 2
    assert fake.asked[0] == (
        "DiscoverInstances",
        {"NamespaceName": "prod", "ServiceName": "users", "HealthStatus": "ALL", "MaxResults": 1000},
    )


async def test_a_revision_that_goes_backwards_is_another_one_too(fake: FakeCloudMap) -> None:
    fake.revisions["prod", "users"] = 10
    async with opened(fake, health_every="1h") as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.lose("prod", "users", **at(TWO))
        fake.revisions["prod", "users"] = 3
        await watch.sees(TWO)


async def test_health_is_seen_though_it_does_not_change_the_revision(fake: FakeCloudMap) -> None:
    sick = {number: {**each, "HealthStatus": "UNHEALTHY"} for number, each in at(ONE).items()}
    async with opened(fake, health_every="50ms") as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.lose("prod", "users", **sick)
        await watch.until(
            lambda watch: isinstance(watch.latest, Bound) and watch.latest.endpoints[0].health is Health.UNHEALTHY,
            "an unhealthy endpoint",
        )


async def test_a_name_nobody_has_costs_one_question_for_its_revision_at_a_time(fake: FakeCloudMap) -> None:
    async with opened(fake) as source, watching(source, Path(("nowhere", "users"))) as watch:
        await watch.sees_none()
        await fake.has_been_asked("DiscoverInstancesRevision", 3)
        assert (fake.count("DiscoverInstances"), watch.published) == (1, [Neg()])


@pytest.mark.parametrize(
    "name", [("prod", "a b"), ("prod", "-a"), ("prod", "a..b"), ("arn:aws:x", "users"), ("ä", "u")]
)
async def test_a_name_that_cloud_map_does_not_allow_is_not_asked_for(fake: FakeCloudMap, name: tuple[str, str]) -> None:
    async with opened(fake) as source, watching(source, Path(name)) as watch:
        await watch.sees_none()
    assert fake.asked == []


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "no JSON object"),
        (b"[]", "DiscoverInstances"),
        (b"{}", "Instances: Field required"),
        (b'{"InstancesRevision": 1}', "Instances: Field required"),
        (b'{"Instances": null, "InstancesRevision": 1}', "Instances: Field required"),
        (b'{"Instances": []}', "InstancesRevision: Field required"),
        (b'{"Instances": [{}], "InstancesRevision": 1}', "Instances.0.InstanceId: Field required"),
        (b'{"Instances": [7], "InstancesRevision": 1}', "makes no sense"),
        (b'{"Instances": {"a": 1}, "InstancesRevision": 1}', "makes no sense"),
        (b'{"Instances": [{"InstanceId": "a", "Attributes": 3}], "InstancesRevision": 1}', "makes no sense"),
        (b'{"Instances": [], "InstancesRevision": "x"}', "InstancesRevision"),
    ],
)
async def test_an_answer_that_makes_no_sense_is_unavailable_and_says_where(
    fake: FakeCloudMap, body: bytes, what: str
) -> None:
    fake.body = body
    async with opened(fake) as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert isinstance(error, Unavailable), error
        assert what in str(error)
        assert watch.published == []


async def test_a_revision_that_is_none_is_unavailable(fake: FakeCloudMap) -> None:
    async with opened(fake) as source, watching(source, USERS) as watch:
        await watch.sees(ONE)
        fake.refusal = 200, {"Revision": 3}
        assert "InstancesRevision" in str(await watch.ends())


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (429, "RequestLimitExceeded", Unavailable, "throttles"),
        (500, "InternalFailure", Unavailable, "500"),
        (400, "InvalidInput", Misconfigured, "InvalidInput"),
        (400, "AccessDeniedException", Misconfigured, "servicediscovery:DiscoverInstances"),
        (400, "UnrecognizedClientException", Misconfigured, "credentials"),
    ],
)
async def test_a_refusal_is_told_and_never_an_empty_service(
    fake: FakeCloudMap, status: int, code: str, kind: type[Exception], says: str
) -> None:
    fake.refusal = refusal(status, code, "said so")
    async with opened(fake) as source, watching(source, USERS) as watch:
        error = await watch.ends()
        assert type(error) is kind or isinstance(error, kind)
        assert says in str(error)
        assert watch.published == []


async def test_an_instance_that_cannot_be_called_fails_its_name_and_no_other(fake: FakeCloudMap) -> None:
    without: dict[str, object] = {"Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.9"}}
    fake.put("prod", "orders", **at(TWO), portless=without)
    async with (
        opened(fake) as source,
        watching(source, USERS) as good,
        watching(source, Path(("prod", "orders"))) as bad,
    ):
        error = await bad.ends()
        assert isinstance(error, Misconfigured)
        assert "instance portless of /prod/orders has no port" in str(error)
        assert bad.published == []
        await good.sees(ONE)
    async with opened(fake, port=81) as source, watching(source, Path(("prod", "orders"))) as watch:
        await watch.sees(TWO, ("10.0.0.9", 81))


async def test_host_names_are_resolved_again_when_their_ttl_has_passed(fake: FakeCloudMap) -> None:
    answers = iter([(("10.0.0.1",), 0.02), (("10.0.0.2",), 60.0)])

    async def resolve(host: str) -> tuple[tuple[str, ...], float]:
        assert host == "db.example"
        return next(answers)

    fake.put("prod", "db", one={"Attributes": {"AWS_INSTANCE_CNAME": "db.example"}})
    async with config(fake, port=5432, health_every="1h").open() as source:
        source = CloudMapSource(source.aws, resolve, source.port, source.every, source.health_every)
        async with watching(source, Path(("prod", "db"))) as watch:
            await watch.sees(("10.0.0.1", 5432))
            await watch.sees(("10.0.0.2", 5432))


async def test_a_service_as_large_as_aws_allows_is_read_whole(fake: FakeCloudMap) -> None:
    many = [(f"10.{number // 250}.{number % 250}.1", 80) for number in range(1000)]
    fake.put("prod", "many", **at(*many))
    async with opened(fake) as source, watching(source, Path(("prod", "many"))) as watch:
        await watch.sees(*many)


async def test_every_page_of_the_lists_is_read(fake: FakeCloudMap) -> None:
    fake.page = 2
    wanted = {(f"ns{number % 3}", f"svc{number}") for number in range(9)}
    for namespace, service in wanted:
        fake.put(namespace, service)
    async with opened(fake) as source:
        assert set(await source.names()) == {Path(name) for name in wanted} | {USERS}


async def test_a_list_whose_pages_never_end_is_unavailable(fake: FakeCloudMap) -> None:
    fake.refusal = 200, {"Namespaces": [], "NextToken": "again"}
    async with opened(fake) as source:
        with pytest.raises(Unavailable, match="the next page is the same one"):
            await source.names()


async def test_two_observations_of_one_name_both_go_on(fake: FakeCloudMap) -> None:
    async with opened(fake) as source, watching(source, USERS) as first, watching(source, USERS) as second:
        await first.sees(ONE)
        fake.put("prod", "users", **at(THREE))
        await asyncio.gather(first.sees(THREE), second.sees(THREE))  # noqa: TID251 - both at once
