"""A recorded control plane that answers again, what a recorded peer can read, and frames as a later version says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from tests.recording import Frame, listening

MAPS = ("names", "local")
"""Objects whose keys are no words of the protocol."""
VARIANTS = ("known", "failed", "pending", "moved")
"""A state has one of these, here and in a report."""
LATER: Frame = {"of": ["a", "later", "version"], "nested": {"deep": None}}
MOOD: Frame = {"type": "mood", "mood": "said by a later version", "names": ["/#/files/users", 7]}


@dataclass(slots=True)
class Shape:
    """The JSON types that were seen at a place, and the keys that every object there had."""

    kinds: set[str] = field(default_factory=set)
    needed: set[str] | None = None
    within: dict[str, Shape] = field(default_factory=dict)

    def learn(self, value: object) -> None:
        self.kinds.add(_kind(value))
        if isinstance(value, dict):
            self.needed = set(value) if self.needed is None else self.needed & value.keys()
        for key, each in _parts(value):
            self.within.setdefault(key, Shape()).learn(each)

    def wrong(self, value: object, at: str = "") -> Iterator[str]:
        """What who knows this shape alone could not read."""
        if _kind(value) not in self.kinds:
            yield f"{at}: {_kind(value)}, not {' or '.join(sorted(self.kinds))}"
        elif isinstance(value, dict) and (gone := (self.needed or set()) - value.keys()):
            yield f"{at}: {', '.join(sorted(gone))} left away"
        for key, each in _parts(value):
            if key in self.within:
                yield from self.within[key].wrong(each, f"{at}.{key}")


def shapes(frames: list[Frame]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for frame in frames:
        found.setdefault(str(frame["type"]), Shape()).learn(frame)
    return found


def unread(frame: Frame, known: Mapping[str, Shape]) -> list[str]:
    """Types that are not known are passed over, and keys: that is what every version does."""
    shape = known.get(str(frame["type"]))
    return [] if shape is None else list(shape.wrong(frame, str(frame["type"])))


def _kind(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, list):
        yield from (("[]", each) for each in value)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in MAPS and isinstance(each, dict):
                yield from ((f"{key}{{}}{_variant(one)}", one) for one in each.values())
            elif key == "state":
                yield f"state{_variant(each)}", each
            else:
                yield key, each


def _variant(state: object) -> str:
    found = (f".{each}" for each in VARIANTS if isinstance(state, dict) and each in state)
    return next(found, "")


def later(value: object, *, within: str = "") -> object:
    """As a later version may say it: with another key in every object."""
    if isinstance(value, list):
        return [later(each, within=within) for each in value]
    if not isinstance(value, dict):
        return value
    more = {key: later(each, within=key) for key, each in value.items()}
    return more if within in MAPS else {**more, "later": LATER}


def later_frames(frames: list[Frame]) -> list[Frame]:
    """And with frames of a type that is new between all of them but the first."""
    first, *rest = [_frame(each) for each in frames]
    return [first, *(each for frame in rest for each in (MOOD, frame))]


def _frame(frame: Frame) -> Frame:
    said = later(frame)
    assert isinstance(said, dict)
    return said


@dataclass(slots=True)
class Replay:
    """Plays one recorded stream to each agent that connects: an answer when its name was asked for, the rest at once.
    `go_on` ends a stream that has come to its end, so that the next one is played."""

    streams: list[list[Frame]]
    ports: Mapping[int, int]
    url: str = ""
    heard: list[Frame] = field(default_factory=list)
    connections: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    _wanted: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self._hear(json.loads(await socket.receive_str()))
        played = self.streams[min(self.connections, len(self.streams) - 1)]
        self.connections += 1
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(self._play(played, socket))
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._hear(json.loads(message.data))
            playing.cancel()
        return socket

    async def say(self, frame: Frame, socket: web.WebSocketResponse) -> None:
        text = json.dumps(frame)
        for recorded, port in self.ports.items():
            text = text.replace(f'"port": {recorded}', f'"port": {port}')
        await socket.send_str(text)

    async def _play(self, frames: list[Frame], socket: web.WebSocketResponse) -> None:
        for frame in frames:
            await self._until(lambda frame=frame: self._asked(frame) <= self._wanted)  # type: ignore[misc]
            await self.say(frame, socket)
        await self.go_on.wait()
        await socket.close()

    @staticmethod
    def _asked(frame: Frame) -> set[object]:
        """The names that it answers for."""
        names = frame.get("names") if frame["type"] == "same" else None
        return set(names) if isinstance(names, list) else {frame["name"]} if frame["type"] == "observation" else set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._news.wait()
            self._news.clear()

    def _hear(self, frame: Frame) -> None:
        self.heard.append(frame)
        if frame["type"] == "want" and isinstance(frame["names"], dict):
            self._wanted.update(frame["names"])
            self._news.set()


@asynccontextmanager
async def replaying(streams: list[list[Frame]], ports: Mapping[int, int]) -> AsyncIterator[Replay]:
    replay = Replay(streams, ports)
    async with listening(replay.stream) as replay.url:
        yield replay
