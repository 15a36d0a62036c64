"""The protocol a store implements. One contract suite runs against every one of them.

A store that answers `put` has the version on disk (of a majority, where it is a cluster). A store retries nothing and
holds nothing back: `mesh.control.tables` keeps what was last known while a store can't be asked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from mesh.control.version import Change, Version

NAMESPACE = r"[A-Za-z0-9_-]{1,100}"
"""What a namespace may be called; Namerd's rule for Consul."""

MOST_BYTES = 400_000
"""Of a table and its policies together: Consul's values end at 512 KiB, etcd's requests at 1.5 MiB."""

Expected = int | Literal["any", "absent"]
"""What must be in force for a change to be made: that number; anything; or no such namespace (never, or deleted)."""


class StoreError(Exception):
    """The text says what failed, where, and what to do; it holds no secret."""


class Unavailable(StoreError):
    """The store can't be asked now. A change may have been made or not: read before trying again."""


class Refused(StoreError):
    """The store will not do this, however often it is asked (no permission, too large, read-only)."""


@dataclass(eq=False)
class Conflict(Exception):
    """The expectation is not met. `current`: what is in force, a deletion perhaps; None: there never was anything."""

    current: Version | None


class Store(Protocol):
    """Opened and closed by `async with`; what it raises is said above."""

    async def current(self) -> dict[str, Version]:
        """The last version of every namespace, also of those that are deleted."""
        ...

    async def get(self, namespace: str) -> Version | None:
        """The last version; a deletion has no content. None: there never was one."""
        ...

    async def put(self, namespace: str, change: Change, expected: Expected) -> Version:
        """Raises Conflict, Refused, Unavailable. When it returns, the version is durable."""
        ...

    async def version(self, namespace: str, number: int) -> Version | None: ...

    async def history(self, namespace: str, limit: int = 50, before: int | None = None) -> list[Version]:
        """Newest first, at most `limit`, with numbers below `before`."""
        ...

    def watch(self) -> AsyncGenerator[dict[str, Version]]:
        """First `current()`, then, at each change by whomever, what has changed.

        The latest wins: versions between may be left out. Ends by raising. No polling where the store has a better way.
        """
        ...
