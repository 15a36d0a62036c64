"""`kind: cloudmap` in the configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from discovery.aws.settings import AwsConfig
from discovery.cloudmap.source import CloudMapSource
from discovery.dns.resolver import Resolver
from discovery.settings import Duration
from discovery.source import Freshness, Hears

SERVICE = "servicediscovery"


class CloudMapConfig(AwsConfig):
    segments: ClassVar[int] = 2

    kind: Literal["cloudmap"] = "cloudmap"
    every: Annotated[Duration, Field(ge=0.01)] = 2.0
    """How often the revision of a service is asked for."""
    health_every: Annotated[Duration, Field(ge=0.01)] = 10.0
    """How often its instances are asked for though the revision is the same: health does not change it."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Of instances that are registered without AWS_INSTANCE_PORT."""
    calls_per_second: Annotated[float, Field(gt=0)] = 50.0
    """At the most, of one account and region, by all sources of this process together."""

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.POLL, self.every)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[CloudMapSource]:
        async with self.opened(SERVICE) as aws:
            yield CloudMapSource(
                aws=aws,
                resolve=Resolver().resolve,
                port=self.port,
                every=self.every,
                health_every=self.health_every,
            )
