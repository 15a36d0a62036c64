"""What a session reports. Values; the server hands them on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Acked:
    """The client has these names as they were sent, or no longer has them."""

    type_url: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nack:
    """The client refused. `culprits` are the names at fault: empty while that is still being found out.

    A refused version is not sent again; the client keeps the last one it took.
    """

    type_url: str
    names: tuple[str, ...]
    versions: tuple[str, ...]
    message: str
    culprits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """The client has names that the store does not know yet. They are kept until the store settles or removes them."""

    type_url: str
    names: tuple[str, ...]


Event = Acked | Nack | Unclaimed
