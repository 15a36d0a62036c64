"""An agent's report, read: the frame `status` of the agents' stream. Pure.

Unknown keys are ignored, so that an agent of the next minor version is understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import NamedTuple

from discovery.address import Bound, Endpoint, Failed, Known, Neg, Pending, State, bound
from discovery.path import Path, PathSyntaxError
from mesh.control.effect import View
from mesh.naming.bind import Namer
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab
from mesh.naming.namers import source_namer

Key = tuple[str, str]
"""Router and name."""
HELD = "held, as the agent says"
MOST_ENDPOINTS = 100_000


class Unreadable(Exception):
    """The text names the key."""


# Tuples, because a fleet sends very many: these are made three times as fast.
class Counts(NamedTuple):
    requests: int
    failures: int

    def since(self, earlier: Counts) -> Counts:
        return Counts(self.requests - earlier.requests, self.failures - earlier.failures)


class Counters(NamedTuple):
    """Of one name at one proxy. `total`: since the proxy began; None: it has no counters of its own there. `rate`:
    requests per second now. `told`: what the report said."""

    total: Counts | None
    rate: float
    bound: str
    told: tuple[object, ...] = ()
    in_use: bool = True

    def idle(self) -> Counters:
        return self._replace(rate=0.0, in_use=False)


@dataclass(frozen=True, slots=True)
class OwnSource:
    """A source that the agent has beside the control plane's."""

    prefix: Path
    segments: int
    fewest: int
    longest: bool

    @property
    def namer(self) -> Namer:
        return source_namer(self.prefix, self.segments, self.fewest, longest=self.longest)


@dataclass(frozen=True, slots=True)
class Status:
    """`told`: the report as it came, without what is kept here in another way; `local`: what `own` was made of."""

    told: Mapping[str, object]
    local: object
    names: Mapping[Key, Counters]
    own: Mapping[Path, State]
    sources: tuple[OwnSource, ...]
    dtab: Dtab

    def view(self, agent: str) -> View | None:
        """Without the namers of the control plane, which `over` adds. None: it has no sources or table of its own."""
        sources = self.sources or _guessed(self.own)
        if not (sources or self.dtab):
            return None
        namers, roots = tuple(each.namer for each in sources), tuple(each.prefix for each in sources)
        return View(namers, (agent,), self.own, roots, self.dtab)


def read(frame: Mapping[str, object], before: Status | None) -> Status:
    """What the frame does not have is as it was before. Raises Unreadable."""
    told = {**(before.told if before else {}), **{key: frame[key] for key in frame if key not in _APART}}
    known = before.names if before else {}
    names = _names(objects(frame["names"], "names"), known) if "names" in frame else known
    local = frame.get("local", before.local if before else {})
    own = before.own if before and local == before.local else _own(local)
    sources = _sources(objects(frame["sources"], "sources")) if "sources" in frame else before.sources if before else ()
    dtab = _dtab(frame["dtab"]) if "dtab" in frame else before.dtab if before else Dtab()
    return Status(told, local, names, own, sources, dtab)


_APART = ("type", "names", "local", "sources")
OWN = ("dtab", "sources", "local")
"""The keys of what an agent has beside the control plane's."""


def own(status: Status) -> dict[str, object]:
    """What the agent has of its own, as its report had it: a frame for `read`."""
    sources = [
        {"prefix": each.prefix.show(), "segments": each.segments, "fewest": each.fewest, "longest": each.longest}
        for each in status.sources
    ]
    return {"dtab": status.told.get("dtab", ""), "sources": sources, "local": status.local}


def _names(rows: Iterable[Mapping[str, object]], before: Mapping[Key, Counters]) -> dict[Key, Counters]:
    """A fleet sends many of these, and most rows are as they were."""
    found: dict[Key, Counters] = {}
    for at, row in enumerate(rows):
        key = text(row.get("router"), f"names[{at}].router"), text(row.get("name"), f"names[{at}].name")
        known = before.get(key)
        if known is None:
            key = intern(key[0]), intern(_path(key[1], f"names[{at}].name").show())
        told = row.get("requests"), row.get("failures"), row.get("rate"), row.get("bound")
        found[key] = known if known is not None and known.told == told else _counters(told, f"names[{at}]")
    return found


def _counters(told: tuple[object, object, object, object], key: str) -> Counters:
    requests, failures, rate, bound_to = told
    total = None
    if requests is not None:
        total = Counts(int(number(requests, f"{key}.requests")), int(number(failures or 0, f"{key}.failures")))
    return Counters(total, number(rate or 0, f"{key}.rate"), intern(str(bound_to or "")), told)


def _own(rows: object) -> dict[Path, State]:
    return {
        _path(name, "local"): _state(name, section(said, f"local.{name}"))
        for name, said in section(rows, "local").items()
    }


def _state(name: str, said: Mapping[str, object]) -> State:
    """An agent tells how many endpoints it sees, not which. Their addresses are the name, which no address is."""
    if "pending" in said:
        return Pending(str(said["pending"]) if said["pending"] else None)
    if "failed" in said:
        return Failed(str(said["failed"]))
    if "endpoints" not in said:
        return Pending(f"what a later version says is not understood here ({', '.join(sorted(said))})")
    held = HELD if said.get("held") else None
    count = said["endpoints"]
    if count is None:
        return Known(Neg(), 0, 0, held)
    many = int(number(count, f"local.{name}.endpoints"))
    if many > MOST_ENDPOINTS:
        raise Unreadable(f"local.{name}.endpoints: at most {MOST_ENDPOINTS} expected")
    usable = bool(said.get("usable", True))
    addr = bound(Endpoint(name, at, weight=1.0 if usable else 0.0) for at in range(many))
    return Known(addr, 0, 0, held, Bound() if said.get("lost") else None)


def _sources(rows: Iterable[Mapping[str, object]]) -> tuple[OwnSource, ...]:
    found = []
    for at, each in enumerate(rows):
        key = f"sources[{at}]"
        segments = int(number(each.get("segments"), f"{key}.segments"))
        fewest = int(number(each.get("fewest") or segments, f"{key}.fewest"))
        found.append(OwnSource(_path(each.get("prefix"), f"{key}.prefix"), segments, fewest, bool(each.get("longest"))))
    return tuple(found)


def _dtab(said: object) -> Dtab:
    try:
        return parse_dtab(text(said or "", "dtab"), "the agent's own table")
    except DtabSyntaxError as error:
        raise Unreadable(f"dtab: {error}") from error


def _guessed(own: Mapping[Path, State]) -> tuple[OwnSource, ...]:
    """Of an agent that names no sources: by the names that it observes."""
    lengths: dict[Path, set[int]] = {}
    for name in own:
        lengths.setdefault(name.take(2), set()).add(len(name) - 2)
    return tuple(OwnSource(root, max(found), min(found), longest=False) for root, found in sorted(lengths.items()))


def section(value: object, key: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise Unreadable(f"{key}: an object expected")
    return value


def objects(value: object, key: str) -> Iterator[Mapping[str, object]]:
    """The objects of a list. Raises Unreadable."""
    if not isinstance(value, list):
        raise Unreadable(f"{key}: a list expected")
    return (section(row, f"{key}[{at}]") for at, row in enumerate(value))


def text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{key}: text expected")
    return value


def number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        raise Unreadable(f"{key}: a number of at least 0 expected")
    return value


def _path(value: object, key: str) -> Path:
    try:
        return Path.parse(text(value, key))
    except PathSyntaxError as error:
        raise Unreadable(f"{key}: {error}") from error
