"""From the configuration of sources to entries of an observatory, and to the namers that lead to them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack

from discovery.dns.inet import INET, RINET, InetSource, RinetSource
from discovery.dns.resolver import Resolver
from discovery.observatory import SourceEntry
from discovery.observing import Settings
from discovery.settings import SourceConfig
from mesh.naming.bind import Namer
from mesh.naming.namers import source_namer


async def opened(stack: AsyncExitStack, source: SourceConfig, bind_timeout: float) -> SourceEntry:
    """Open until the stack ends."""
    settings = Settings(
        resync=source.resync,
        confirm_after=source.confirm_after,
        last_resort=source.last_resort,
        damping=source.damping,
        bind_timeout=bind_timeout,
    )
    return SourceEntry(
        source.root,
        source.kind,
        source.name_segments,
        await stack.enter_async_context(source.open()),
        settings,
        fewest=source.fewest_segments,
        longest=source.longest,
        freshness=source.freshness,
    )


def inet(bind_timeout: float) -> list[SourceEntry]:
    """`/$/inet` and its like are sources that are always there. A literal address needs no reading again."""
    resolve, settings = Resolver().resolve, Settings(resync=0.0, bind_timeout=bind_timeout)
    return [
        SourceEntry(INET, "inet", 2, InetSource(resolve), settings, fewest=1),
        SourceEntry(RINET, "rinet", 2, RinetSource(resolve), settings),
    ]


def namers(entries: Iterable[SourceEntry]) -> list[Namer]:
    return [
        source_namer(entry.root, entry.segments, entry.fewest or entry.segments, longest=entry.longest)
        for entry in entries
        if entry.root[0] == "#"
    ]
