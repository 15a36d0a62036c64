"""A router, seen from the brain: which name a request asks for, and the key by which Envoy finds its scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from discovery.path import Path
from mesh.agent.names import Key
from mesh.envoy.names import scope_key
from mesh.naming import identify
from mesh.naming.identify import Unidentified


@dataclass(frozen=True, slots=True)
class Identified:
    key: Key
    path: Path


@dataclass(frozen=True, slots=True)
class Router:
    name: str
    dst_prefix: Path

    def identify(self, headers: Mapping[str, str]) -> Identified | Unidentified:
        authority = headers.get(":authority", "")
        path = identify.host(authority, self.dst_prefix)
        if isinstance(path, Unidentified):
            return path
        return Identified((self.name, scope_key(authority)), path)

    def adopt(self, key: str) -> Identified | Unidentified:
        """The name behind a scope that Envoy already has."""
        return self.identify({":authority": key})
