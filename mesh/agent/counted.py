"""Which names have counters of their own. The first ones, up to a limit: Envoy never forgets what it has counted."""

from __future__ import annotations

from discovery.path import Path
from mesh.envoy.names import stat_name

OTHER = "other"
"""What all further names are counted as. No path: these begin with a slash."""


class Counted:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._given: dict[tuple[str, Path], str] = {}

    def prefix(self, router: str, path: Path) -> str:
        key = (router, path)
        if key not in self._given:
            if len(self._given) >= self._limit:
                return OTHER
            self._given[key] = stat_name(path.show())
        return self._given[key]

    def known(self, router: str, path: Path) -> str:
        """As `prefix`, but gives none out: a name that was only asked for has no counters."""
        return self._given.get((router, path), OTHER)
