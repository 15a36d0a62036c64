"""The kinds of identifier as values: which parts of a request each looks at, and the name it takes from them.

A request is identified by its parts alone, so that these, put together, are the key by which Envoy finds what was bound
(`mesh.envoy.keys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from discovery.path import Path
from mesh.naming import identify
from mesh.naming.identify import Unidentified

AUTHORITY, METHOD, PATH, SCHEME = ":authority", ":method", ":path", ":scheme"


@dataclass(frozen=True, slots=True)
class Part:
    """A header's value, or what stands at `index` when it is split at `separator`. `:path` is without its query."""

    header: str
    separator: str = ""
    index: int = 0


Said = Mapping[Part, str]
"""What a request says in each part; nothing, if it says nothing."""


class Identifier(Protocol):
    @property
    def parts(self) -> tuple[Part, ...]: ...

    @property
    def wish(self) -> str:
        """What a caller is told who was not identified."""

    def identify(self, said: Said, prefix: Path) -> Path | Unidentified: ...

    def plain(self, path: Path, prefix: Path) -> Said:
        """The one way to write `path` that stands for all others. Parts that are missing stay as they are."""


def header_part(header: str) -> Part:
    return Part(AUTHORITY if header.lower() == "host" else header.lower())


@dataclass(frozen=True, slots=True)
class Host:
    """`Host: Users:80` is `<prefix>/users`."""

    wish = "Send the name of a service as the Host header."

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(AUTHORITY, ":"),)

    def identify(self, said: Said, prefix: Path) -> Path | Unidentified:
        return identify.host(said[self.parts[0]], prefix)

    def plain(self, path: Path, prefix: Path) -> Said:
        return {self.parts[0]: path[-1]}


@dataclass(frozen=True, slots=True)
class Header:
    """`l5d-name: /users/v2` is `<prefix>/users/v2`."""

    header: str = "l5d-name"

    @property
    def wish(self) -> str:
        return f"Send the path of a service, such as /users, as the {self.header} header."

    @property
    def parts(self) -> tuple[Part, ...]:
        return (header_part(self.header),)

    def identify(self, said: Said, prefix: Path) -> Path | Unidentified:
        return identify.header(said[self.parts[0]], prefix, self.header)

    def plain(self, path: Path, prefix: Path) -> Said:
        return {self.parts[0]: path.drop(len(prefix)).show()}


@dataclass(frozen=True, slots=True)
class HeaderToken:
    """`x-service: Users:80` is `<prefix>/Users:80`."""

    header: str = "host"

    @property
    def wish(self) -> str:
        return f"Send the name of a service as the {self.header} header."

    @property
    def parts(self) -> tuple[Part, ...]:
        return (header_part(self.header),)

    def identify(self, said: Said, prefix: Path) -> Path | Unidentified:
        return identify.token(said[self.parts[0]], prefix, self.header)

    def plain(self, path: Path, prefix: Path) -> Said:
        return {self.parts[0]: path[-1]}


@dataclass(frozen=True, slots=True)
class UriPath:
    """`/users/list` is `<prefix>/users`; with `consume`, what is sent on is `/list`."""

    segments: int = 1
    consume: bool = False

    @property
    def wish(self) -> str:
        many = "the name of a service" if self.segments == 1 else f"the {self.segments} segments of a service's name"
        return f"Begin the path of the request with {many}."

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part(PATH, "/", index) for index in range(1, self.segments + 1))

    def identify(self, said: Said, prefix: Path) -> Path | Unidentified:
        return identify.uri_path("/" + "/".join(said[part] for part in self.parts), prefix, self.segments)

    def plain(self, path: Path, prefix: Path) -> Said:
        return dict(zip(self.parts, path.drop(len(prefix)), strict=True))


@dataclass(frozen=True, slots=True)
class MethodAndHost:
    """`GET`, `Host: Web` is `<prefix>/1.1/GET/web`, whatever the version: Envoy makes 1.1 of all of them."""

    wish = "Send a Host header."

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(METHOD), Part(AUTHORITY))

    def identify(self, said: Said, prefix: Path) -> Path | Unidentified:
        method, host = (said[part] for part in self.parts)
        return identify.method_and_host(method, host, prefix)

    def plain(self, path: Path, prefix: Path) -> Said:
        return dict(zip(self.parts, path[-2:], strict=True))


@dataclass(frozen=True, slots=True)
class Static:
    """Every request is `<prefix>/<path>`."""

    path: Path

    wish = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        # It looks at nothing, and a key is made of something. Every request has this one.
        return (Part(SCHEME),)

    def identify(self, said: Said, prefix: Path) -> Path | Unidentified:
        return prefix.then(self.path)

    def plain(self, path: Path, prefix: Path) -> Said:
        return {}
