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

MOST_BYTES = 380_000
"""Of a version as it is stored, JSON in UTF-8: Consul's transactions end at 512 KiB with all in base64."""

Expected = int | Literal["any", "absent"]
"""What must be in force for a change to be made: that number; anything; or no such namespace (never, or deleted)."""


class StoreError(Exception):
    """The text says what failed, where, and what to do; it holds no secret."""


class Unavailable(StoreError):
    """The store can't be asked now. A change may have been made or not: read before trying again."""


class Refused(StoreError):
    """The store will not do this, however often it is asked (no permission, too large, read-only)."""


class Unreadable(StoreError):
    """What is stored under a namespace is not what Tieline wrote there; the text names the key.

    Raised where one namespace was asked for. Where all are told of it is the value of that one, and the others go on.
    """


Latest = Version | Unreadable
"""Of a namespace: the version in force, a deletion perhaps, or why it can't be known."""


@dataclass(eq=False)
class Conflict(Exception):
    """The expectation is not met. `current`: what is in force, a deletion perhaps; None: there never was anything."""

    current: Version | None


class Store(Protocol):
    """Opened and closed by `async with` of its configuration; what it raises is said above.

    A namespace whose name is none is `Refused`.
    """

    async def current(self) -> dict[str, Latest]:
        """The last version of every namespace, also of those that are deleted."""
        ...

    async def get(self, namespace: str) -> Version | None:
        """The last version; a deletion has no content. None: there never was one."""
        ...

    async def put(self, namespace: str, change: Change, expected: Expected) -> Version:
        """Raises Conflict, Refused, Unavailable. When it returns, the version is durable."""
        ...

    async def version(self, namespace: str, number: int) -> Version | None:
        """None: there is no such version."""
        ...

    async def history(self, namespace: str, limit: int = 50, before: int | None = None) -> list[Version]:
        """Newest first, at most `limit`, with numbers below `before`."""
        ...

    def watch(self) -> AsyncGenerator[dict[str, Latest]]:
        """First `current()`, then, at each change by whomever, what has changed.

        The latest wins: versions between may be left out. Ends by raising. No polling where the store has a better way.
        A namespace that was there and is gone is `Unreadable`: nothing that Tieline does removes one.
        """
        ...
