"""Server-sent events, sans-I/O: bytes as they come -> events. Pure.

A line ends with CR LF, LF or CR; an empty one ends an event; one that begins with a colon is a comment. Marathon's
heartbeat is a bare line end, sent as CR and LF apart. Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST_BYTES = 64 * 1024 * 1024
"""Of one event. Those about deployments hold the whole tree of groups, twice."""

_END = re.compile(rb"\r\n|\n|\r")


class TooLong(ValueError):
    """An event that does not end."""


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    data: str


@dataclass(slots=True)
class Parser:
    most: int = MOST_BYTES
    _rest: bytearray = field(default_factory=bytearray)
    """A line that has not ended."""
    _skip_lf: bool = False
    """The last chunk ended with CR: a LF at the beginning of the next belongs to it."""
    _type: str = ""
    _data: list[str] = field(default_factory=list)
    _size: int = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk`, which is not empty, completes. Raises TooLong."""
        if self._skip_lf:
            chunk = chunk.removeprefix(b"\n")
        events, at = [], 0
        for end in _END.finditer(chunk):
            line = bytes(self._rest) + chunk[at : end.start()] if self._rest else chunk[at : end.start()]
            self._rest.clear()
            at = end.end()
            if event := self._line(line):
                events.append(event)
        self._rest += chunk[at:]
        self._skip_lf = chunk.endswith(b"\r")
        if len(self._rest) + self._size > self.most:
            raise TooLong(f"an event of more than {self.most} bytes")
        return events

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        self._size += len(line)
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._type or "message", "\n".join(self._data)) if self._data else None
        self._type, self._size = "", 0
        self._data.clear()
        return event
