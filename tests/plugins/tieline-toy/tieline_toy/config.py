"""`kind: toy` in the configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import AfterValidator
from tieline_toy.source import ToySource

from discovery.settings import Duration, SourceConfig
from discovery.source import Freshness, Hears


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"an address such as 127.0.0.1:7000 expected, not {text!r}")
    return text


class ToyConfig(SourceConfig):
    kind: Literal["toy"] = "toy"
    address: Annotated[str, AfterValidator(_address)] = "127.0.0.1:7000"
    """Of the registry, `host:port`."""
    timeout: Duration = 5.0
    """To connect, and for the first answer."""

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.EVENTS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ToySource]:
        host, _, port = self.address.rpartition(":")
        yield ToySource(host.strip("[]"), int(port), self.timeout)
