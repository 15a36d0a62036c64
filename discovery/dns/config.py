"""`kind: dns` in the configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from discovery.dns.resolver import Family, Resolver, nameserver
from discovery.dns.source import DnsSource
from discovery.settings import Duration, SourceConfig
from discovery.source import Freshness, Hears


def _checked(text: str) -> str:
    nameserver(text)
    return text


class DnsConfig(SourceConfig):
    segments: ClassVar[int] = 1

    kind: Literal["dns"] = "dns"
    record: Literal["auto", "srv", "a"] = "auto"
    """`auto`: SRV for names that begin with `_`, addresses for others."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Of names that are looked up as addresses."""
    family: Family = Family.V4_PREFERRED
    nameservers: tuple[Annotated[str, AfterValidator(_checked)], ...] = ()
    """Those of /etc/resolv.conf unless said."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    shortest_ttl: Annotated[Duration, Field(ge=0.01)] = 1.0
    """A name is asked for no more often, whatever its TTL."""
    longest_ttl: Annotated[Duration, Field(ge=1)] = 300.0
    """No answer is believed for longer, whatever its TTL."""

    @property
    def freshness(self) -> Freshness:
        """At the least: a longer TTL is waited for."""
        return Freshness(Hears.POLL, self.shortest_ttl)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[DnsSource]:
        resolver = Resolver(
            nameservers=self.nameservers,
            family=self.family,
            timeout=self.timeout,
            shortest_ttl=self.shortest_ttl,
            longest_ttl=self.longest_ttl,
        )
        yield DnsSource(resolver=resolver, record=self.record, port=self.port)
