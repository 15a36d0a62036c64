"""Calls to a fake ECS, and to moto's SQS where they wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from discovery.aws.api import Aws
from discovery.aws.failures import Refused
from discovery.aws.settings import AwsConfig
from discovery.source import Misconfigured, Unavailable
from scripts.moto import REGION, moto
from scripts.ports import free_port
from tests.discovery.contract import eventually, open_files
from tests.fakes.ecs import fake_ecs


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")


@asynccontextmanager
async def asked(url: str, **settings: object) -> AsyncIterator[Aws]:
    given = {"kind": "t", "region": REGION, "endpoint_url": url, "calls_per_second": 1000, **settings}
    async with AwsConfig.model_validate(given).opened("ecs", "sqs") as aws:
        yield aws


async def test_an_answer_is_botocores() -> None:
    async with fake_ecs() as fake, asked(fake.url) as aws:
        fake.state.cluster("prod")
        answer = await aws.call("ecs", "list_clusters", maxResults=10)
        assert answer["clusterArns"] == ["arn:aws:ecs:eu-west-1:123456789012:cluster/prod"]
        assert aws.account_and_region == f"testing eu-west-1 {fake.url}"


async def test_a_refusal_has_its_code() -> None:
    async with fake_ecs() as fake, asked(fake.url) as aws:
        with pytest.raises(Refused) as error:
            await aws.call("ecs", "list_tasks", cluster="nope")
        assert error.value.code == "ClusterNotFoundException"


@pytest.mark.parametrize("fault", ["dark", "garbage", "half", "cut", "error", "expired"])
async def test_what_is_no_answer_is_unavailable(fault: str) -> None:
    async with fake_ecs() as fake, asked(fake.url) as aws:
        fake.fault = fault
        texts = set()
        for _ in range(2):
            with pytest.raises(Unavailable) as error:
                await aws.call("ecs", "list_clusters")
            texts.add(str(error.value))
        assert len(texts) == 1
        assert "s3cret" not in texts.pop()


async def test_a_call_that_is_throttled_is_made_a_few_times_more() -> None:
    async with fake_ecs() as fake, asked(fake.url) as aws:
        fake.fault, fake.times = "throttled", 3
        await aws.call("ecs", "list_clusters")
        assert len(fake.calls) == 4
        fake.times = 1000
        with pytest.raises(Unavailable, match="throttles"):
            await aws.call("ecs", "list_clusters")
        assert len(fake.calls) == 12


async def test_who_does_not_answer_is_given_up_in_time() -> None:
    async with fake_ecs() as fake, asked(fake.url, timeout="200ms") as aws:
        await aws.call("ecs", "list_clusters")
        fake.fault = "stall"
        with pytest.raises(Unavailable, match=r"has not been answered (within 0.2 s|in time)"):
            await aws.call("ecs", "list_clusters")


async def test_nobody_at_the_address_is_unavailable() -> None:
    async with asked(f"http://127.0.0.1:{free_port()}") as aws:
        with pytest.raises(Unavailable, match="Could not connect"):
            await aws.call("ecs", "list_clusters")


async def test_what_aws_can_not_be_asked_is_misconfigured() -> None:
    async with fake_ecs() as fake, asked(fake.url) as aws:
        with pytest.raises(Misconfigured, match="Unknown parameter"):
            await aws.call("ecs", "list_tasks", nonsense=1)


async def test_a_profile_that_does_not_exist_is_misconfigured() -> None:
    async with fake_ecs() as fake, asked(fake.url, profile="nobody-has-this") as aws:
        with pytest.raises(Misconfigured, match="nobody-has-this"):
            await aws.call("ecs", "list_clusters")


async def test_a_call_that_is_cancelled_frees_its_thread_and_its_connection() -> None:
    files = open_files()
    async with fake_ecs() as fake, asked(fake.url) as aws:
        await aws.call("ecs", "list_clusters")
        fake.fault = "stall"
        for number in range(12):  # more than there are threads
            async with asyncio.TaskGroup() as group:
                task = group.create_task(aws.call("ecs", "list_clusters"))
                await fake.has_been_asked(number + 2)
                task.cancel()
        fake.fault = ""
        async with asyncio.timeout(5):
            await aws.call("ecs", "list_clusters")
    await eventually(lambda: open_files() <= files, "no socket")


async def test_a_long_poll_of_sqs_ends_when_it_is_cancelled() -> None:
    """The queue is moto's."""
    async with moto() as server, asked(server.url) as aws:
        url = (await aws.call("sqs", "create_queue", QueueName="q"))["QueueUrl"]
        before = open_files()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(aws.call("sqs", "receive_message", QueueUrl=url, WaitTimeSeconds=20))
            await eventually(lambda: open_files() > before, "a connection")
            task.cancel()
        await eventually(lambda: open_files() <= before, "no socket")
    await eventually(lambda: all(each.name != "aws" for each in threading.enumerate()), "no thread")
