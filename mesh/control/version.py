"""What a store holds: per namespace a row of versions; the last is in force. Nothing is ever overwritten."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Content:
    """As it was written, comments and all. `dtab`: Finagle's grammar; `policies`: a YAML list, or empty."""

    dtab: str
    policies: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody wants to be in force. `content` None: the namespace is deleted; its versions stay."""

    content: Content | None
    who: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A change that was made. `number`: from 1, per namespace, never used twice. `at`: seconds since the epoch."""

    namespace: str
    number: int
    at: float
    who: str
    why: str
    content: Content | None

    @property
    def etag(self) -> str:
        """Namerd's: base64 of the version."""
        return base64.b64encode(str(self.number).encode()).decode()
