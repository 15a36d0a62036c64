"""The sources of a control plane, as it offers them and as its agents mount them."""

from __future__ import annotations

from collections.abc import Iterable

from discovery.observatory import SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.remote.frames import RemoteSource, Sources
from discovery.source import Relays

_ROOT = "#"
LAST_RESORT_SECONDS = 30.0
"""As a source's `last_resort` is unless said."""


def offered(entries: Iterable[SourceEntry]) -> Sources:
    """What an agent has by itself, `/$/inet` and its like, is not offered."""
    shown = sorted((entry for entry in entries if entry.root[0] == _ROOT), key=lambda entry: entry.root)
    return Sources(
        tuple(
            RemoteSource(entry.root, entry.kind, entry.segments, entry.fewest, entry.longest, entry.freshness)
            for entry in shown
        )
    )


def mounted(offer: Sources, relays: Relays, bind_timeout: float) -> list[SourceEntry]:
    """For `Observatory.mount`. Most settings of an observation are the control plane's: here it is relayed."""
    settings = Settings(resync=0.0, last_resort=LAST_RESORT_SECONDS, bind_timeout=bind_timeout)
    return [
        SourceEntry(each.prefix, each.kind, each.segments, relays, settings, each.fewest, each.longest, each.freshness)
        for each in offer.sources
    ]


def beside(entries: Iterable[SourceEntry], own: Iterable[Path]) -> tuple[list[SourceEntry], list[SourceEntry]]:
    """Those that have no names in common with sources at `own`, and those that do: these are not asked."""
    apart, hidden = list[SourceEntry](), list[SourceEntry]()
    roots = list(own)
    for each in entries:
        meets = any(each.root.startswith(one) or one.startswith(each.root) for one in roots)
        (hidden if meets else apart).append(each)
    return apart, hidden
