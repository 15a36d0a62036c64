"""`routers:`, where applications send their requests."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from discovery.path import Path, PathSyntaxError
from mesh.config.fields import Address, MeshPath, Place, Port, Section
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

    overrides: Overrides | None = Field(default=None, examples=["signed"])
    """Whether a request may bring a table (`l5d-dtab`). null: `on` if only this host reaches the router, else `off`."""
    overrides_key_file: Place | None = Field(default=None, examples=["/etc/tieline/overrides.key"])
    """A file that holds the key of signatures, of at least 16 bytes; for `overrides: signed`."""

    show_destination: Literal["on_request", "never"] = Field(default="never", examples=["on_request"])
    """`on_request`: answers to requests with `l5d-dst-show` tell the name and what it led to."""
    errors: Literal["told", "hidden"] | None = Field(default=None, examples=["hidden"])
    """Whether callers hear why a request failed. null: `told` if only this host reaches the router, else `hidden`."""

    @property
    def tells_errors(self) -> bool:
        """What `errors` comes to."""
        return self.errors == "told" or (self.errors is None and ipaddress.ip_address(self.address).is_loopback)

    @property
    def accepts(self) -> Literal["off", "signed", "on"]:
        """What `overrides` comes to."""
        return self.overrides or ("on" if ipaddress.ip_address(self.address).is_loopback else "off")

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
