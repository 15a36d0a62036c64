"""The hosts file (`/etc/hosts`), read again when it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath

from discovery.dns.records import is_literal
from discovery.source import Unavailable

Stamp = tuple[int, int, int]


def stamp(file: FilePath) -> Stamp | None:
    """Differs when the file was changed or replaced; None when there is no such file."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{file} cannot be read: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(slots=True)
class Hosts:
    file: FilePath
    _stamp: Stamp | None = None
    _names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def addresses(self, host: str) -> tuple[str, ...]:
        """() where the file does not say."""
        now = stamp(self.file)
        if now != self._stamp:
            self._names = parse(self.file.read_text(errors="replace")) if now else {}
            self._stamp = now
        return self._names.get(host.lower().removesuffix("."), ())


def parse(text: str) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        if is_literal(address):
            for name in map(str.lower, aliases):
                names[name] = (*names.get(name, ()), address)
    return names
