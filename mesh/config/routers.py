"""`routers:`, where applications send their requests."""

from __future__ import annotations

from pydantic import Field

from discovery.path import Path
from mesh.config.edge import RouterTls
from mesh.config.fields import Address, MeshPath, Port, Section
from mesh.config.identifiers import HostIdentifier, Identifiers
from mesh.naming.identifiers import Identifier


class Router(Section):
    name: str = Field(default="http", pattern=r"^[a-z][a-z0-9_-]{0,39}$", examples=["http"])
    """How the router is called in `status`, `explain` and metrics: lower-case letters, digits, `-` and `_`."""
    address: Address = Field(default="127.0.0.1", examples=["127.0.0.1"])
    """The IP address on which applications reach the proxy."""
    port: Port = Field(default=4140, examples=[4140])
    """The port on which applications reach the proxy."""
    dst_prefix: MeshPath = Field(default=Path(("svc",)), examples=["/svc"], json_schema_extra={"default": "/svc"})
    """Stands before every name: `users` becomes `/svc/users`."""
    identifier: Identifiers = Field(default_factory=HostIdentifier)
    """How a request tells its name: one section, or a list of them, of which the first that identifies it wins."""
    tls: RouterTls | None = Field(default=None)
    """The router speaks TLS, with HTTP/2 and HTTP/1.1: see [traffic](traffic.md). null: plain HTTP."""

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        sections = self.identifier if isinstance(self.identifier, tuple) else (self.identifier,)
        return tuple(each.identifier() for each in sections)
