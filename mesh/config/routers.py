"""`routers:`, where applications send their requests."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from discovery.path import Path, PathSyntaxError
from mesh.config.edge import RouterLimits, RouterTls
from mesh.config.fields import Address, Flag, MeshPath, Place, Port, Section
from mesh.config.identifiers import HostIdentifier, Identifiers
from mesh.naming.identifiers import Identifier

_SAID = ("off", "signed", "on")
# YAML 1.1 reads `on` and `off` as true and false.
_MEANT = {True: "on", False: "off"}


def _said(value: object) -> object:
    return _MEANT.get(value, value) if isinstance(value, bool) else value


Overrides = Annotated[
    Literal["off", "signed", "on"],
    BeforeValidator(_said),
    WithJsonSchema({"enum": [*_SAID, *_MEANT]}),
]


def _destination(text: str) -> str:
    try:
        path = Path.parse(text if text.startswith("/") else f"/{text}")
    except PathSyntaxError:
        path = Path()
    if not path:
        raise ValueError(f"a name such as postgres or a path such as /svc/postgres expected, not {text!r}")
    return text


def _upgrade(text: str) -> str:
    if text.lower() in ("connect", "connect-udp", "connect-ip", "h2c"):
        raise ValueError(f"an upgrade such as websocket expected; {text!r} is none that a proxy passes on")
    return text


def _once(upgrades: tuple[str, ...]) -> tuple[str, ...]:
    if len({each.lower() for each in upgrades}) < len(upgrades):
        raise ValueError(f"each upgrade once expected, not {list(upgrades)}")
    return upgrades


Upgrade = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z/-]{1,100}$"), AfterValidator(_upgrade)]
Destination = Annotated[str, AfterValidator(_destination)]


class Router(Section):
    name: str = Field(default="http", pattern=r"^[a-z][a-z0-9_-]{0,39}$", examples=["http"])
    """How the router is called in `status`, `explain` and metrics: lower-case letters, digits, `-` and `_`."""
    address: Address = Field(default="127.0.0.1", examples=["127.0.0.1"])
    """The IP address on which applications reach the proxy."""
    port: Port = Field(default=4140, examples=[4140])
    """The port on which applications reach the proxy."""
    protocol: Literal["http", "tcp", "tls"] = Field(default="http", examples=["tcp"])
    """`http`: each request says its name. `tcp`: connections go to one name. `tls`: each says its name by SNI."""
    to: Destination | None = Field(default=None, examples=["postgres"])
    """`tcp`: the name that connections go to, such as `postgres`, or its path, such as /svc/postgres."""
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
    upgrades: Annotated[tuple[Upgrade, ...], AfterValidator(_once)] = Field(
        default=("websocket",), examples=["[websocket, SPDY/3.1]"]
    )
    """What requests may change the protocol of their connection to (`Upgrade`). Others get 403."""
    limits: RouterLimits = Field(default_factory=RouterLimits)
    """How much callers may send, how slowly, and how many may come."""

    overrides: Overrides | None = Field(default=None, examples=["signed"])
    """Whether a request may bring a table (`l5d-dtab`). null: `on` if the router is trusted, else `off`."""
    overrides_key_file: Place | None = Field(default=None, examples=["/etc/tieline/overrides.key"])
    """A file that holds the key of signatures, of at least 16 bytes; for `overrides: signed`."""

    show_destination: Literal["on_request", "never"] = Field(default="never", examples=["on_request"])
    """`on_request`: answers to requests with `l5d-dst-show` tell the name and what it led to."""
    errors: Literal["told", "hidden"] | None = Field(default=None, examples=["hidden"])
    """Whether callers hear why a request failed. null: `told` if the router is trusted, else `hidden`."""

    @property
    def is_trusted(self) -> bool:
        return ipaddress.ip_address(self.address).is_loopback if self.trusted is None else self.trusted

    @property
    def tells_errors(self) -> bool:
        """What `errors` comes to."""
        return self.errors == "told" or (self.errors is None and self.is_trusted)

    @property
    def accepts(self) -> Literal["off", "signed", "on"]:
        """What `overrides` comes to."""
        return self.overrides or ("on" if self.is_trusted else "off")

    @property
    def destination(self) -> Path | None:
        """What `to` comes to."""
        if self.to is None:
            return None
        return Path.parse(self.to) if self.to.startswith("/") else self.dst_prefix.then(Path.parse(f"/{self.to}"))

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        sections = self.identifier if isinstance(self.identifier, tuple) else (self.identifier,)
        return tuple(each.identifier() for each in sections)
