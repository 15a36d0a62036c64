"""`routers:`, where applications send their requests."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field

from discovery.path import Path
from mesh.config.edge import RouterLimits, RouterTls
from mesh.config.fields import Address, Flag, MeshPath, Port, Section
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
    trusted: Flag | None = Field(default=None, examples=[True])
    """Whether callers may speak to the mesh: see [traffic](traffic.md). null: true exactly on a loopback address."""
    xff_num_trusted_hops: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(default=0, examples=[1])
    """Not trusted: so many proxies stand before this one, whose entries in `x-forwarded-for` are believed."""
    escaped_slashes: Literal["keep", "reject", "unescape", "redirect"] | None = Field(default=None, examples=["keep"])
    """What becomes of a path with `%2F` or `%5C`. null: `keep`; `reject` (400) on a router that is not trusted."""
    headers_with_underscores: Literal["keep", "drop", "reject"] | None = Field(default=None, examples=["keep"])
    """What becomes of headers such as `x_user`. null: `keep`; `drop` on a router that is not trusted."""
    limits: RouterLimits = Field(default_factory=RouterLimits)
    """How much callers may send, how slowly, and how many may come."""

    @property
    def is_trusted(self) -> bool:
        return ipaddress.ip_address(self.address).is_loopback if self.trusted is None else self.trusted

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        sections = self.identifier if isinstance(self.identifier, tuple) else (self.identifier,)
        return tuple(each.identifier() for each in sections)
