"""What an agent and its control plane say to each other: one JSON object per WebSocket text message.

    agent → control    hello, then want, release and status
    control → agent    welcome or refused, then table, sources, observation and same

The README shows each. What a newer version adds is passed over: unknown keys, and unknown types (None).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from discovery.address import State
from discovery.path import Path
from discovery.remote import states
from discovery.remote.reading import BadFrame, Fields, expected
from discovery.source import Freshness, Hears

PROTOCOL = 1
MOST_BYTES = 16 * 1024 * 1024
"""Of a frame to an agent: a name with 100,000 endpoints."""

Frame = TypeVar("Frame")

_AGENT = re.compile(r"[A-Za-z0-9._:/-]{1,255}")
_HEARS = {hears.value: hears for hears in Hears}


@dataclass(frozen=True, slots=True)
class Hello:
    """`table`, `sources`: the version of the table and the hash of the sources that the agent has.

    `table_at`: when that version was made. Another store, or one that was begun anew, may use the same number again.
    """

    agent: str
    namespace: str = "default"
    version: str = ""
    table: int | None = None
    sources: str | None = None
    protocol: int = PROTOCOL
    table_at: float | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """Names as they are shown, and the version of the state that the agent has of each."""

    names: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Release:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The agent's report; its keys are the affair of who writes and who reads it."""

    report: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Welcome:
    control: str = ""
    replica: str = ""
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """A version of a namespace. No `dtab`: there is no such namespace, or not any more; version 0: there never was."""

    namespace: str
    version: int
    dtab: str | None
    policies: str | None
    at: float = 0.0
    who: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """What a `SourceEntry` says of a source, without the source."""

    prefix: Path
    kind: str
    segments: int
    fewest: int | None = None
    longest: bool = False
    freshness: Freshness | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """`hash` is made of `sources` unless given."""

    sources: tuple[RemoteSource, ...]
    hash: str = field(default="")

    def __post_init__(self) -> None:
        if not self.hash:
            object.__setattr__(self, "hash", states.version(_dumps([_source_row(each) for each in self.sources])))


@dataclass(frozen=True, slots=True)
class Observation:
    name: Path
    version: str
    state: State


@dataclass(frozen=True, slots=True)
class Same:
    """What the agent has of these names, as they are shown, is still so."""

    names: tuple[str, ...]


FromAgent = Hello | Want | Release | Status
FromControl = Welcome | Refused | Table | Sources | Observation | Same


def from_agent(text: str) -> FromAgent | None:
    """Raises BadFrame."""
    return _decoded(text, _FROM_AGENT)


def from_control(text: str) -> FromControl | None:
    """Raises BadFrame."""
    return _decoded(text, _FROM_CONTROL)


def encode(frame: FromAgent | FromControl) -> str:
    match frame:
        case Observation(name, version, state):
            return _observation(name.show(), version, states.encode(state)[1])
        case Status(report):
            return _dumps({**report, "type": "status"})
        case Sources(sources, digest):
            return _dumps({"type": "sources", "hash": digest, "sources": [_source_row(each) for each in sources]})
        case Want(names):
            return _dumps({"type": "want", "names": dict(names)})
        case _:
            told = {key: getattr(frame, key) for key in frame.__slots__}
            return _dumps({"type": type(frame).__name__.lower(), **told})


def observation(name: str, state: State) -> tuple[str, str]:
    """The state's version, and the frame that tells it. `name` as it is shown."""
    version, text = states.encode(state)
    return version, _observation(name, version, text)


def _observation(name: str, version: str, state: str) -> str:
    return f'{{"type":"observation","name":{json.dumps(name)},"version":"{version}","state":{state}}}'


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _source_row(source: RemoteSource) -> dict[str, object]:
    fresh = source.freshness
    return {
        "prefix": source.prefix.show(),
        "kind": source.kind,
        "segments": source.segments,
        "fewest": source.fewest,
        "longest": source.longest,
        "freshness": None if fresh is None else {"hears": fresh.hears.value, "seconds": fresh.seconds},
    }


def _decoded(text: str, readers: Mapping[str, Callable[[Fields], Frame]]) -> Frame | None:
    fields = Fields.parse(text)
    kind = fields.text("type")
    reader = readers.get(kind)
    if reader is None:
        return None
    try:
        return reader(fields)
    except BadFrame as error:
        raise BadFrame(error.key, f"{error.wrong} (in a frame {kind!r})") from error


def _hello(fields: Fields) -> Hello:
    """What protocol it speaks comes first: of another one nothing more is known than that."""
    protocol = fields.whole("protocol")
    if protocol != PROTOCOL:
        return Hello(agent="", protocol=protocol)
    agent = fields.text("agent")
    if not _AGENT.fullmatch(agent):
        raise expected("a name of at most 255 of A-Z a-z 0-9 . _ : / -", agent, "agent")
    return Hello(
        agent=agent,
        namespace=fields.text("namespace", "default"),
        version=fields.text("version", ""),
        table=fields.whole_or_none("table"),
        sources=fields.text_or_none("sources"),
        table_at=fields.number_or_none("table_at"),
    )


def _want(fields: Fields) -> Want:
    names = fields.fields("names")
    return Want({name: names.text_or_none(name) for name in names.values})


def _status(fields: Fields) -> Status:
    return Status({key: value for key, value in fields.values.items() if key != "type"})


def _welcome(fields: Fields) -> Welcome:
    return Welcome(fields.text("control", ""), fields.text("replica", ""), fields.whole("protocol"))


def _table(fields: Fields) -> Table:
    return Table(
        namespace=fields.text("namespace"),
        version=fields.whole("version"),
        dtab=fields.text_or_none("dtab"),
        policies=fields.text_or_none("policies"),
        at=fields.number("at", 0.0),
        who=fields.text("who", ""),
        why=fields.text("why", ""),
    )


def _sources(fields: Fields) -> Sources:
    found: dict[Path, RemoteSource] = {}
    for row in fields.rows("sources"):
        source = _source(row)
        if source.prefix in found:
            raise BadFrame(row.at("prefix"), f"{source.prefix.show()} is another source's already")
        found[source.prefix] = source
    return Sources(tuple(found.values()), fields.text("hash"))


def _source(row: Fields) -> RemoteSource:
    return RemoteSource(
        prefix=row.path("prefix"),
        kind=row.text("kind"),
        segments=row.whole("segments"),
        fewest=row.whole_or_none("fewest"),
        longest=row.flag("longest", False),
        freshness=_freshness(row),
    )


def _freshness(row: Fields) -> Freshness | None:
    if row.values.get("freshness") is None:
        return None
    told = row.fields("freshness")
    hears = _HEARS.get(told.text("hears"))
    return None if hears is None else Freshness(hears, told.number("seconds", 0.0))


def _told(fields: Fields) -> Observation:
    return Observation(fields.path("name"), fields.text("version"), states.decode(fields.fields("state")))


_FROM_AGENT: Mapping[str, Callable[[Fields], FromAgent]] = {
    "hello": _hello,
    "want": _want,
    "release": lambda fields: Release(fields.texts("names")),
    "status": _status,
}
_FROM_CONTROL: Mapping[str, Callable[[Fields], FromControl]] = {
    "welcome": _welcome,
    "refused": lambda fields: Refused(fields.text("reason")),
    "table": _table,
    "sources": _sources,
    "observation": _told,
    "same": lambda fields: Same(fields.texts("names")),
}


def chunks(names: Iterable[str], size: int) -> Iterable[list[str]]:
    """So that no frame is longer than the other end reads."""
    listed = list(names)
    return (listed[start : start + size] for start in range(0, len(listed), size))
