"""The text of one file and what it lists. Pure.

file := { line '\n' }
line := [ host port [ '*' weight ] ] [ '#' comment ]
host := IP literal | host name
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from discovery.address import Bound, Endpoint, bound
from discovery.source import Unavailable

MOST_PORT = 65535
SMALL_BYTES = 4096
_WORD = re.compile(r"\*|[^\s*]+")
_HOST = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*\.?")
_DOTTED_DIGITS = re.compile(r"[\d.]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    host: str
    is_address: bool
    port: int
    weight: float
    line: int


@dataclass(frozen=True, slots=True)
class _Line:
    """The words of one line, and where the first that doesn't fit stands."""

    file: str
    number: int
    words: tuple[tuple[int, str], ...]
    length: int

    def error(self, index: int, expected: str) -> Unavailable:
        column, found = self.words[index] if index < len(self.words) else (self.length, "")
        what = f"found {found!r}" if found else "the line ends"
        return Unavailable(f"{self.file}:{self.number}:{column + 1}: {expected} expected, {what}")

    def record(self) -> Record:
        host, is_address = self._host()
        port = self._port()
        if len(self.words) > 2 and self.words[2][1] != "*":
            raise self.error(2, "'*' and a weight, or the end of the line")
        weight = self._weight() if len(self.words) > 2 else 1.0
        if len(self.words) > 4:
            raise self.error(4, "the end of the line")
        return Record(host, is_address, port, weight, self.number)

    def _host(self) -> tuple[str, bool]:
        text = self.words[0][1]
        try:
            return str(ipaddress.ip_address(text.strip("[]"))), True
        except ValueError:
            if _DOTTED_DIGITS.fullmatch(text) or _HOST.fullmatch(text) is None:
                raise self.error(0, "an IP address or a host name") from None
            return text, False

    def _port(self) -> int:
        text = self.words[1][1] if len(self.words) > 1 else ""
        if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MOST_PORT):
            raise self.error(1, "port")
        return int(text)

    def _weight(self) -> float:
        try:
            weight = float(self.words[3][1]) if len(self.words) > 3 else math.nan
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise self.error(3, "a weight above 0")
        return weight


def parse(file: str, data: bytes) -> tuple[Record, ...]:
    """Raises Unavailable with file, line and column: a file with an error in it lists nothing, not half of it."""
    return tuple(line.record() for line in _lines(file, _decoded(file, data)))


@lru_cache(maxsize=32_768)
def small(file: str, data: bytes) -> tuple[tuple[Record, ...], Bound | None]:
    """As `parse`, remembered: most readings find what the one before found. Bound, if no host has to be resolved."""
    records = parse(file, data)
    return records, listed(records, {}) if all(record.is_address for record in records) else None


def is_finished(data: bytes) -> bool:
    """Whether the last line has its end: a file that is still being written may stop anywhere."""
    return not data or data.endswith(b"\n")


def listed(records: tuple[Record, ...], addresses: Mapping[str, tuple[str, ...]]) -> Bound:
    """`addresses`: what each host name among the records resolved to."""
    return bound(
        Endpoint(address, record.port, weight=record.weight)
        for record in records
        for address in ((record.host,) if record.is_address else addresses[record.host])
    )


def _decoded(file: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise Unavailable(f"{file}:{line}:{column}: UTF-8 expected, found byte 0x{data[error.start]:02x}") from None


def _lines(file: str, text: str) -> Iterator[_Line]:
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.partition("#")[0].rstrip()
        words = tuple((found.start(), found[0]) for found in _WORD.finditer(line))
        if words:
            yield _Line(file, number, words, len(line))
