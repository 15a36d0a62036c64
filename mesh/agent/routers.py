"""A router, seen from the brain: which name a request asks for, and the key by which Envoy finds its scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from discovery.path import Path
from mesh.agent.delegating import Tables
from mesh.agent.names import Key
from mesh.envoy.keys import KeyForm, key_form
from mesh.naming import identify
from mesh.naming.identifiers import Host, Identifier, Said, UriPath
from mesh.naming.identify import Unidentified


@dataclass(frozen=True, slots=True)
class Identified:
    """`plain`: the key of the request that asks for the same and says nothing else. `consumed`: how many segments its
    path loses on the way."""

    key: Key
    path: Path
    plain: Key
    consumed: int = 0


@dataclass(frozen=True, slots=True)
class Router:
    """The first of `identifiers` that identifies a request wins."""

    protocol: ClassVar = "http"
    name: str
    dst_prefix: Path
    identifiers: tuple[Identifier, ...] = (Host(),)
    tables: Tables = field(default_factory=Tables)
    tells_errors: bool = True
    upgrades: tuple[str, ...] = ("websocket",)
    form: KeyForm = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", key_form(self.identifiers))

    @property
    def wish(self) -> str:
        return " Or: ".join(each.wish for each in self.identifiers)

    def passes(self, upgrade: str) -> bool:
        return not upgrade or upgrade.lower() in map(str.lower, self.upgrades)

    def identify(self, headers: Mapping[str, str]) -> Identified | Unidentified:
        return self._identify(self.form.said(headers))

    def adopt(self, key: str) -> Identified | Unidentified:
        """The name behind a scope that Envoy already has, or that the disk remembers."""
        said = self.form.parsed(key)
        return Unidentified("the key comes from other identifiers") if said is None else self._identify(said)

    def named(self, name: str) -> Path | Unidentified:
        """What a person means who says a name and no path, however this router identifies requests."""
        return identify.host(name, self.dst_prefix)

    def rewritten(self, key: str, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers to change so that Envoy finds the scope of `key` for this request."""
        return {name: value for name, value in self.form.headers(key).items() if headers.get(name) != value}

    def _identify(self, said: Said) -> Identified | Unidentified:
        reasons: dict[str, None] = {}
        for each in self.identifiers:
            path = each.identify(said, self.dst_prefix)
            if not isinstance(path, Unidentified):
                return self._identified(each, said, path)
            reasons[path.reason] = None
        return Unidentified("; ".join(reasons))

    def _identified(self, by: Identifier, said: Said, path: Path) -> Identified | Unidentified:
        key = self.form.key(said)
        if not _is_unicode(key):
            return Unidentified("what identifies the request is not UTF-8")
        plain = self.form.key(by.plain(path, self.dst_prefix))
        consumed = by.segments if isinstance(by, UriPath) and by.consume else 0
        return Identified((self.name, key), path, (self.name, plain), consumed)


def _is_unicode(text: str) -> bool:
    """No other key fits into a protobuf string."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
