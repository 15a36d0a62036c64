"""Events, with moto's SQS: a third party's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from discovery.address import Bound, Health
from discovery.aws.api import Aws
from discovery.aws.settings import AwsConfig
from discovery.ecs.config import EcsConfig
from discovery.ecs.source import EcsSource
from discovery.path import Path
from discovery.source import Misconfigured
from scripts.moto import REGION, moto
from tests.discovery.contract import ONE, THREE, TWO, keys, watching
from tests.fakes.ecs import FakeEcs, fake_ecs
from tests.fakes.ecs_state import event

CLUSTER = "prod"
USERS = Path((CLUSTER, "users"))


@dataclass
class Fleet:
    fake: FakeEcs
    source: EcsSource
    sqs: Aws
    queue_url: str

    async def say(self, body: str) -> None:
        await self.sqs.call("sqs", "send_message", QueueUrl=self.queue_url, MessageBody=body)

    async def messages(self) -> int:
        """That are waiting or have been handed out and not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        asked = {"QueueUrl": self.queue_url, "AttributeNames": names}
        answer = await self.sqs.call("sqs", "get_queue_attributes", **asked)
        return sum(int(answer["Attributes"][name]) for name in names)


@asynccontextmanager
async def fleet(**settings: Any) -> AsyncIterator[Fleet]:
    """Polled once an hour: whatever is seen sooner was heard."""
    async with moto() as aws, fake_ecs() as fake:
        endpoints = {"ecs": fake.url, "ec2": fake.url, "sqs": aws.url}
        given = {"kind": "ecs", "region": REGION, "endpoint_url": endpoints, "poll_min": "1h", "poll_max": "1h"}
        async with AwsConfig.model_validate({"kind": "t", "region": REGION, "endpoint_url": aws.url}).opened(
            "sqs"
        ) as sqs:
            queue_url = (await sqs.call("sqs", "create_queue", QueueName="tieline"))["QueueUrl"]
            given |= {"queue_url": queue_url, "calls_per_second": 1000}
            async with EcsConfig.model_validate({**given, **settings}).open() as source:
                yield Fleet(fake, source, sqs, queue_url)


async def test_events_bring_what_starts_drains_and_stops() -> None:
    async with fleet() as it:
        state = it.fake.state
        state.put(CLUSTER, "users", ONE)
        ((id, first),) = state.cluster(CLUSTER).tasks.items()
        async with watching(it.source, USERS) as watch:
            await watch.sees(ONE)
            state.put(CLUSTER, "users", ONE, TWO)
            started = list(state.cluster(CLUSTER).tasks.values())[-1]
            await it.say(event(started))
            await watch.sees(ONE, TWO)
            await it.say(event(state.stopping(CLUSTER, id)))
            await watch.until(
                lambda watch: _healths(watch.latest) == {Health.DRAINING, Health.HEALTHY}, "one that drains"
            )
            await it.say(event(state.stopped(CLUSTER, id)))
            await watch.sees(TWO)
            until_now = len(watch.published)
            await it.say(event(started))  # a second time
            await it.say(event(first))  # late: it has stopped meanwhile
            state.put(CLUSTER, "users", TWO, THREE)
            await it.say(event(list(state.cluster(CLUSTER).tasks.values())[-1]))
            await watch.sees(TWO, THREE)
            assert not any(ONE in (keys(addr) or ()) for addr in watch.published[until_now:])
        assert it.fake.counted()["ListTasks"] == 1


async def test_what_was_heard_is_deleted_whatever_it_was_about() -> None:
    async with fleet() as it:
        state = it.fake.state
        state.put(CLUSTER, "users", ONE)
        state.put("other", "users", ONE)
        async with watching(it.source, USERS) as watch:
            await watch.sees(ONE)
            await it.say(
                '{"source": "aws.ecs", "detail-type": "ECS Service Action", "detail": {"eventName": "SERVICE_X"}}'
            )
            await it.say(event(next(iter(state.cluster("other").tasks.values()))))
            state.put(CLUSTER, "users", ONE, TWO)
            await it.say(event(list(state.cluster(CLUSTER).tasks.values())[-1]))
            await watch.sees(ONE, TWO)
            await it.say("no JSON")  # the last to be deleted: a read follows
            await it.fake.has_been_asked(2, "ListTasks")
        # A batch is deleted after it was told: the one that was cut off is said once more.
        assert await it.messages() <= 1


async def test_what_can_not_be_understood_is_made_good_by_reading_everything() -> None:
    async with fleet() as it:
        it.fake.state.put(CLUSTER, "users", ONE)
        async with watching(it.source, USERS) as watch:
            await watch.sees(ONE)
            it.fake.state.put(CLUSTER, "users", TWO)
            await it.say('{"source": "aws.ecs", "detail": {"taskArn": 7}}')
            await watch.sees(TWO)


async def test_with_a_queue_all_is_listed_again_all_the_same() -> None:
    async with fleet(poll_min="100ms", poll_max="100ms") as it:
        it.fake.state.put(CLUSTER, "users", ONE)
        async with watching(it.source, USERS) as watch:
            await watch.sees(ONE)
            it.fake.state.put(CLUSTER, "users", TWO)
            await watch.sees(TWO)


async def test_a_queue_that_does_not_exist_is_said_and_what_ecs_says_is_told_first() -> None:
    async with fleet(queue_url="http://sqs.invalid/123456789012/nope") as it:
        it.fake.state.put(CLUSTER, "users", ONE)
        async with watching(it.source, USERS) as watch:
            error = await watch.ends()
            assert isinstance(error, Misconfigured)
            assert "sqs:ReceiveMessage" in str(error)
            assert keys(watch.latest) == {ONE}


@pytest.mark.parametrize("role", ["arn:aws:iam::123456789012:role/tieline"])
async def test_a_role_is_assumed_for_what_is_asked(role: str) -> None:
    """STS is moto's."""
    async with moto() as aws, fake_ecs() as fake:
        fake.state.put(CLUSTER, "users", ONE)
        endpoints = {"ecs": fake.url, "sts": aws.url}
        given = {"region": REGION, "endpoint_url": endpoints, "role_arn": role, "external_id": "s3cret"}
        async with EcsConfig.model_validate(given).open() as source, watching(source, USERS) as watch:
            await watch.sees(ONE)
        assert len(fake.keys) == 1
        assert "testing" not in fake.keys


def _healths(addr: object) -> set[Health]:
    return {each.health for each in addr.endpoints} if isinstance(addr, Bound) else set()
