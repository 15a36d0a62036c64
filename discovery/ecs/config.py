"""`kind: ecs` in the configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from discovery.aws.settings import AwsConfig, Url
from discovery.ecs.feed import ClusterFeed
from discovery.ecs.queue import Queue
from discovery.ecs.reading import Asking
from discovery.ecs.records import Definition
from discovery.ecs.source import EcsSource
from discovery.settings import Duration
from discovery.source import Freshness, Hears


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class EcsConfig(AwsConfig):
    segments: ClassVar[int] = 3

    kind: Literal["ecs"] = "ecs"
    resync: Duration = 600.0
    """Every poll is a full read already; this one has to leave time for the largest cluster."""
    poll_min: Annotated[Duration, Field(ge=0.05)] = 2.0
    """Between two polls of a cluster that changes, if there are so few tasks that calls_per_second allows it."""
    poll_max: Annotated[Duration, Field(ge=0.05)] = 30.0
    """Between two polls of a cluster that does not change, or of which events tell."""
    port: Annotated[Annotated[str, Field(min_length=1)], BeforeValidator(_text)] | None = None
    """The container port of names that say none, where a task has several: its number, its name, or its container."""
    queue_url: Url | None = None
    """An SQS queue to which EventBridge sends "ECS Task State Change". It must be this agent's alone."""

    @model_validator(mode="after")
    def _least_before_most(self) -> Self:
        if self.poll_min > self.poll_max:
            raise ValueError(f"poll_min ({self.poll_min:g} s) is more than poll_max ({self.poll_max:g} s)")
        return self

    @property
    def fewest_segments(self) -> int:
        return 2

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.POLL, self.poll_max) if self.queue_url is None else Freshness(Hears.EVENTS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[EcsSource]:
        async with AsyncExitStack() as stack:
            asking = Asking(await stack.enter_async_context(self.opened("ecs", "ec2")))
            definitions: dict[str, Definition] = {}
            queue = None
            if self.queue_url is not None:
                # The long poll has threads of its own.
                sqs = await stack.enter_async_context(self.opened("sqs"))
                queue = await stack.enter_async_context(Queue(sqs, self.queue_url))

            def feed(cluster: str) -> ClusterFeed:
                return ClusterFeed(
                    cluster,
                    asking,
                    definitions,
                    pace=(self.poll_min, self.poll_max),
                    default_port=self.port or "",
                    queue=queue,
                )

            yield await stack.enter_async_context(EcsSource(asking, feed))
