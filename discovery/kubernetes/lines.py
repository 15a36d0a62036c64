"""The lines of a watch, sans-I/O: bytes as they come -> whole lines. Pure.

Half a line at the end of a stream is nobody's: the next watch begins after the last whole one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_BYTES = 64 * 1024 * 1024
"""Of one line. An object in etcd has 1.5 MB at the most."""


class TooLong(ValueError):
    """A line that does not end."""


@dataclass(slots=True)
class Lines:
    most: int = MOST_BYTES
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends and without empty ones. Raises TooLong."""
        end = chunk.rfind(b"\n")
        if end < 0:
            self._rest += chunk
            lines = []
        else:
            whole = bytes(self._rest) + chunk[:end] if self._rest else chunk[:end]
            self._rest = bytearray(chunk[end + 1 :])
            lines = [line for line in whole.split(b"\n") if line.strip()]
        if len(self._rest) > self.most:
            raise TooLong(f"a line of more than {self.most} bytes")
        return lines
