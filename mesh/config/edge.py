"""`routers[].tls`: what a router needs that speaks TLS itself."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from mesh.config.fields import Flag, Place, Section

VERSIONS = (1.2, 1.3)


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
