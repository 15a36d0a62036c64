"""`kind: static` in the configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from discovery.address import bound
from discovery.settings import Duration, SourceConfig
from discovery.source import Freshness, Hears
from discovery.static.records import endpoint
from discovery.static.source import StaticSource


def _checked(text: str) -> str:
    endpoint(text)
    return text


Written = Annotated[str, AfterValidator(_checked)]


class StaticConfig(SourceConfig):
    """Endpoints written in the configuration itself."""

    kind: Literal["static"] = "static"
    names: dict[Annotated[str, Field(min_length=1)], list[Written]] = Field(default_factory=dict)
    """Each name's endpoints: `IP:port`, IPv6 in brackets, ` * weight` after it if wanted."""
    resync: Duration = 0.0
    """They change with the configuration only, so they are not read again."""
    confirm_after: Duration = 0.0
    """What the configuration says is believed at once."""
    last_resort: Duration = 0.0

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.NOTHING_CHANGES)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[StaticSource]:
        yield StaticSource({name: bound(map(endpoint, written)) for name, written in self.names.items()})
