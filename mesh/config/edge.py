"""What a router is told of those who may connect: `routers[].tls` and `routers[].limits`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from mesh.config.fields import Count, Flag, Place, Section, Size, Time

VERSIONS = (1.2, 1.3)
OURS = "x-tieline-"
TO_THE_MESH = ("l5d-", "x-envoy-")
"""How headers begin that speak to the mesh or to Envoy: not taken from callers that are not trusted, as `OURS`."""
OF_PROXIES = ("x-forwarded-", "forwarded", "x-real-ip")
"""Those that only a proxy in front knows what to write into; removed where none is believed."""


def _version(value: float) -> float:
    if value not in VERSIONS:
        raise ValueError(f"1.2 or 1.3 expected, not {value:g}")
    return value


Version = Annotated[
    float, Field(strict=True), AfterValidator(_version), WithJsonSchema({"type": "number", "enum": list(VERSIONS)})
]


class RouterTls(Section):
    cert: Place = Field(examples=["/etc/tieline/edge.pem"])
    """The certificate in PEM, those that it is signed by behind it. Read again when it changes."""
    key: Place = Field(examples=["/etc/tieline/edge.key"])
    """Its private key in PEM, without a passphrase."""
    client_ca: Place | None = Field(default=None, examples=["/etc/tieline/clients.pem"])
    """The authorities whose clients are trusted: a client that shows a certificate of another is refused."""
    require_client_cert: Flag = Field(default=False, examples=[True])
    """A client without a certificate is refused."""
    min_version: Version = Field(default=1.2, examples=[1.2])
    """The oldest version of TLS that is spoken: 1.2 or 1.3."""

    @model_validator(mode="after")
    def _checkable(self) -> Self:
        if self.require_client_cert and self.client_ca is None:
            raise ValueError("`require_client_cert` needs `client_ca`: whose certificates are good")
        return self


MOST_HEADER_BYTES = 8192 * 1024


def _header_bytes(value: int) -> int:
    if not 1024 <= value <= MOST_HEADER_BYTES:
        raise ValueError("a size from 1KiB to 8MiB expected")
    return value


class RouterLimits(Section):
    header_bytes: Annotated[Size, AfterValidator(_header_bytes)] = Field(default=60 * 1024, examples=["60KiB"])
    """The headers of a request together. Beyond: 431."""
    headers: Annotated[Count, Field(le=10_000)] = Field(default=100, examples=[100])
    """How many headers a request has at most. Beyond: 431."""
    body_bytes: Annotated[Size, Field(le=2**32 - 1)] | None = Field(default=None, examples=["10MiB"])
    """The body of a request. Beyond: 413. A request then goes on when it is complete. null: no limit, and at once."""
    header_timeout: Time | None = Field(default=None, examples=["10s"])
    """How long the headers of a request may take to come. Beyond: 408. null: 10s, none on a trusted router."""
    request_timeout: Time | None = Field(default=None, examples=["5m"])
    """How long a request may take to come whole, its answer not begun. Beyond: 408. null: 5m, none if trusted."""
    idle: Time | None = Field(default=None, examples=["1h"])
    """A connection without a request is closed after this time. null: 5m, 1h on a trusted router."""
    connections: Count | None = Field(default=None, examples=[10000])
    """How many may be connected at once; more are closed. null: as many as `envoy.connections` says."""
    streams: Annotated[Count, Field(le=2**31 - 1)] | None = Field(default=None, examples=[100])
    """How many requests at once on a connection of HTTP/2. null: 100, 1000 on a trusted router."""
