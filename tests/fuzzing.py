"""Inputs of the wrong kind: recorded frames with something wrong in them, and rounds of them, by number or by time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.recording import RECORDED, Frame, frames

T = TypeVar("T")
ROUND = 200
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Rounds:
    """`examples` of them, or as many as there is time for in `seconds`."""

    examples: int = 0
    seconds: float = 0.0

    def of(self, strategy: st.SearchStrategy[T], check: Callable[[T], None]) -> int:
        """How many were tried."""
        tried = 0

        def one(example: T) -> None:
            nonlocal tried
            tried += 1
            check(example)

        until = time.monotonic() + self.seconds
        while tried < self.examples or time.monotonic() < until:
            _round(strategy, one, self.examples or ROUND)
        return tried


def _round(strategy: st.SearchStrategy[T], check: Callable[[T], None], examples: int) -> None:
    """Never the same examples again: a round that repeats another one finds nothing."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(strategy)
    def run(example: T) -> None:
        check(example)

    run()


TABLES = ["/svc => /#/files", "/svc => ~ | ! & $", "/svc =>", "- match: /svc/users\n  timeout: {request: 5s}\n", "[{]"]
PATHS = ["/", "/#", "/#/files", "/#/shared/users", "/svc/users"]
WORDS = [*TABLES, *PATHS, "", "users", "default", "\x00", "é", "9" * 40, "127.0.0.1", "::", "0.0.0.0"]
NUMBERS = [0, -1, 1, 0.5, 2**31, 2**32, 2**53 + 1, 2**63, 2**70, -(2**63), 65_535, 65_536, 1e-300, 1e300, -0.0]
TEXTS = st.sampled_from(WORDS) | st.text(max_size=8)
LEAVES = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | st.floats() | TEXTS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)


@dataclass(frozen=True, slots=True)
class Change:
    """At one of the places of a frame: `how` is replaced, left away, doubled or put beside."""

    at: int
    how: str
    value: object


CHANGES = st.builds(Change, st.integers(0, 200), st.sampled_from(("value", "value", "away", "twice", "more")), JSON)


def frames_of(end: str) -> st.SearchStrategy[Frame]:
    """What an `end` (agent or control) has said once, with up to four changes to it."""
    said = [frame for version in sorted(RECORDED.iterdir()) if version.is_dir() for frame in frames(version.name, end)]
    return st.builds(changed, st.sampled_from(said), st.lists(CHANGES, max_size=4))


def texts_of(end: str) -> st.SearchStrategy[str]:
    """As they are sent; some of them are cut, and some are nothing of the kind."""
    whole = frames_of(end).map(json.dumps)
    cut = st.builds(lambda text, at: text[: at % (len(text) + 1)], whole, st.integers(0, 10_000))
    return st.one_of(whole, whole, whole, cut, st.text(max_size=60), JSON.map(json.dumps))


def changed(frame: Frame, changes: list[Change]) -> Frame:
    frame = deepcopy(frame)
    for change in changes:
        places = list(_places(frame))
        *way, last = places[change.at % len(places)]
        within: object = frame
        for key in way:
            within = within[key]  # type: ignore[index]  # a place of this frame
        _change(within, last, change)
    return frame


def _places(value: object, at: Place = ()) -> Iterator[Place]:
    if at:
        yield at
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*at, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _places(each, (*at, index))


def _change(within: object, key: str | int, change: Change) -> None:
    if isinstance(within, dict):
        if change.how == "away" and len(within) > 1:
            del within[key]
        elif change.how == "more":
            within[f"{key}+"] = change.value
        else:
            within[key] = change.value
    elif isinstance(within, list) and isinstance(key, int):
        if change.how == "away" and len(within) > 1:
            del within[key]
        elif change.how in ("twice", "more"):
            within.append(within[key] if change.how == "twice" else change.value)
        else:
            within[key] = change.value
