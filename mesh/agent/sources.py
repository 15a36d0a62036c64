"""What the agent tells of its sources: how fresh each is, what it has answered, and every name it could.

Numbers are counted when they are asked for, in one pass over all observations.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from discovery.address import Known, Pending, State
from discovery.observatory import RESTORED, Observatory, SourceEntry
from discovery.outage import Outage
from discovery.path import Path
from discovery.source import Hears, Relays, SourceError

logger = logging.getLogger("tieline.sources")

LISTING_SECONDS = 5.0
"""A source that takes longer to list its names can't be listed."""


@dataclass(slots=True)
class Survey:
    """The names of one source in numbers. `oldest`, `newest`: confirmations, in seconds since the epoch."""

    states: Counter[str] = field(default_factory=Counter)
    """By what is known of them: `pending`, `known`, `held`, `lost` (a last resort), `failed`."""
    observed: int = 0
    answered: int = 0
    """Of how many it says something now."""
    failed: int = 0
    """Nothing is known of them, and why is: they failed, or are failing before their first answer."""
    oldest: float | None = None
    newest: float | None = None
    reason: str | None = None
    """Why a name has failed or is held, if one is: of those that have failed, if there are any."""


def surveys(observatory: Observatory, entries: Iterable[SourceEntry]) -> dict[Path | None, Survey]:
    """By prefix; None: names of no source."""
    found: dict[Path | None, Survey] = {entry.root: Survey() for entry in entries}
    outages = {root: observatory.outage(root) for root in found if root is not None}
    for name, state, entry in observatory.known():
        root = entry.root if entry else None
        survey = found.get(root)
        if survey is None:
            survey = found[root] = Survey()
        _count(survey, name, state, outages.get(root) if root else None)
    return found


def _count(survey: Survey, name: Path, state: State, outage: Outage | None) -> None:
    survey.observed += 1
    if not isinstance(state, Known):
        survey.states["pending" if isinstance(state, Pending) else "failed"] += 1
        if state.reason:
            survey.reason = survey.reason if survey.failed else state.reason
            survey.failed += 1
        return
    if state.lost is not None:
        # The source has answered, twice: what is kept is no trouble of its.
        survey.states["lost"] += 1
    else:
        survey.states["held" if state.held else "known"] += 1
        survey.reason = survey.reason or state.held
    survey.answered += state.held is None or not (state.held == RESTORED or (outage and outage.is_failing(name)))
    at = state.confirmed_at
    if survey.oldest is None or survey.newest is None:
        survey.oldest = survey.newest = at
    elif at < survey.oldest:
        survey.oldest = at
    elif at > survey.newest:
        survey.newest = at


def verdict(survey: Survey) -> str:
    if not survey.observed:
        return "unused"
    if survey.failed:
        return "failed"
    return "held" if survey.states["held"] else "ok"


def head(entry: SourceEntry) -> dict[str, object]:
    """Which source it is, and how it hears of changes; null where it does not say. `through`: whom we hear it from."""
    freshness = None if entry.freshness is None else str(entry.freshness)
    told: dict[str, object] = {"prefix": entry.root.show(), "kind": entry.kind, "freshness": freshness}
    return {**told, "through": "control plane"} if isinstance(entry.source, Relays) else told


def row(entry: SourceEntry, survey: Survey, outage: Outage, now: float) -> dict[str, object]:
    """For `status`."""
    return {
        **head(entry),
        "state": verdict(survey),
        "observations": survey.observed,
        "held": survey.states["held"],
        "lost": survey.states["lost"],
        "failed": survey.failed,
        "errors": outage.errors,
        "oldest_confirmed_seconds": _age(survey.oldest, now),
        "newest_confirmed_seconds": _age(survey.newest, now),
        "reason": survey.reason,
        "last_error": outage.last_error,
        "last_error_seconds": None if outage.last_error_age is None else round(outage.last_error_age, 1),
    }


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else round(max(0.0, now - at), 1)


def grows_old(entry: SourceEntry) -> bool:
    """Whether the age of a confirmation says something: what never changes is read once."""
    return entry.freshness is not None and entry.freshness.hears is not Hears.NOTHING_CHANGES


async def listings(observatory: Observatory, entries: Sequence[SourceEntry]) -> list[dict[str, object]]:
    """What each source could name, all asked at once. One that can't be asked is an error beside the others.

    `names` is null where there is no list: the source can't be asked now, or it has none (`lists` is false).
    """
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(_listing(observatory, entry)) for entry in entries]
    return [each.result() for each in found]


async def _listing(observatory: Observatory, entry: SourceEntry) -> dict[str, object]:
    names: list[str] | None = None
    lists, error = True, None
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            paths = await observatory.names(entry.root)
            lists = paths is not None
            names = None if paths is None else await asyncio.to_thread(_shown, entry.root, paths)
    except TimeoutError:
        error = f"it has not listed its names within {LISTING_SECONDS:g} s"
    except SourceError as raised:
        error = str(raised)
    except Exception as bug:
        # A bug in one source must not hide what the others list.
        logger.exception("a bug in a source", extra={"fields": {"source": entry.root.show()}})
        error = f"a bug in the source: {bug!r}"
    count = None if names is None else len(names)
    return {**head(entry), "lists": lists, "count": count, "names": names, "error": error}


def _shown(root: Path, paths: Iterable[Path]) -> list[str]:
    """In a thread: 100,000 names take a while, and first calls must not wait for it."""
    prefix = root.show()
    return sorted(prefix + path.show() for path in paths)
