"""One entry of `policies:` as it is written: a pattern, and what holds for the names that match it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from mesh.naming.pattern import capture_names
from mesh.policy.effective import Entry, written
from mesh.policy.settings import Settings, is_of_bound_names

SOURCES, SYSTEM = "#", "$"


def _pattern(text: str) -> str:
    if not text.startswith("/") or "//" in text:
        raise ValueError(f"a path such as /svc/users, /svc/* or /svc/{{name}} expected, not {text!r}")
    return text


class PolicyEntry(Settings):
    match: Annotated[str, AfterValidator(_pattern)] = Field(examples=["/svc/users"])
    """The names it holds for, and all below them: /svc/users, /svc/*, /svc/{name}; or what names lead to: /#/consul."""

    _where: str = PrivateAttr("")
    _lines: dict[str, int] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """A route serves all that a name leads to, so what is a matter of the route can't be said of one of these."""
        if self.match.split("/")[1] in (SOURCES, SYSTEM):
            for key in written(self):
                if key != "match" and not is_of_bound_names(key):
                    raise ValueError(f"`{key}` holds for a name such as /svc/users, not for what it leads to")
        return self

    @model_validator(mode="after")
    def _captures(self) -> Self:
        known = capture_names(self.match)
        for name in (name for mirror in self.mirror for name in capture_names(mirror.to) if name not in known):
            raise ValueError(f"`match` captures no {{{name}}} for `mirror`")
        return self

    def placed(self, where: str, lines: Mapping[str, int]) -> PolicyEntry:
        """Knows where it stands, for explain."""
        entry = self.model_copy()
        entry._where, entry._lines = where, dict(lines)
        return entry

    @property
    def entry(self) -> Entry:
        return Entry(self.match, self, self._where, self._lines)
