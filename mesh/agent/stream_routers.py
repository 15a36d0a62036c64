"""Routers of connections, seen from the brain: the name that a connection asks for."""

from __future__ import annotations

from dataclasses import dataclass

from discovery.path import Path
from mesh.agent.routers import Identified
from mesh.envoy.streams import Stream
from mesh.naming import identify
from mesh.naming.identify import Unidentified


@dataclass(frozen=True, slots=True)
class StreamRouter:
    """`to`: of a TCP router, the name all its connections lead to. None: TLS, the caller says which."""

    stream: Stream
    dst_prefix: Path
    to: Path | None = None

    @property
    def name(self) -> str:
        return self.stream.name

    @property
    def protocol(self) -> str:
        return "tls" if self.to is None else "tcp"

    def identify(self, server_name: str) -> Identified | Unidentified:
        """By the server name of a ClientHello (SNI)."""
        if not server_name:
            return Unidentified("no TLS, or a ClientHello without a server name")
        path = identify.host(server_name, self.dst_prefix)
        if isinstance(path, Unidentified):
            return Unidentified(f"the server name {server_name[:100]!r} is no host name")
        return Identified((self.name, server_name), path, (self.name, path[-1]))

    def adopt(self, key: str) -> Identified | Unidentified:
        """The name behind a cluster that Envoy already has, or that the disk remembers."""
        if self.to is None:
            return self.identify(key)
        if key != self.to.show():
            return Unidentified("the router led elsewhere then")
        return Identified((self.name, key), self.to, (self.name, key))

    def named(self, name: str) -> Path | Unidentified:
        """What a person means who says a name and no path."""
        return identify.host(name, self.dst_prefix)
