"""TLS to the endpoints of a name. Source of the mechanisms: Envoy, transport_sockets.tls.v3.UpstreamTlsContext."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mesh.config.fields import Flag, Place, Section

SYSTEM: Literal["system"] = "system"
# Braces: captures of `match` are filled in.
_SNI = r"^[A-Za-z0-9._{}-]{1,253}$"
_SAN = r"^[!-~]{1,253}$"
Name = Annotated[str, Field(pattern=_SAN)]


class Tls(Section):
    ca: Literal["system"] | Place = Field(default=SYSTEM, examples=["/etc/tieline/ca.pem"])
    """The file of the authorities that sign the service's certificate; `system`: those that this host trusts."""
    sni: Annotated[str, Field(pattern=_SNI)] | None = Field(default=None, examples=["users.example.com"])
    """The name that the service is asked for. null: the host of `/$/inet/<host>/<port>`, else the last element."""
    san: tuple[Name, ...] = Field(default=(), examples=["[users.example.com]"])
    """Names, IP addresses or URIs (spiffe://…), one of which must be in the certificate. None: what `sni` says."""
    cert: Place | None = Field(default=None, examples=["/etc/tieline/client.pem"])
    """The certificate that the proxy shows the service. null: none."""
    key: Place | None = Field(default=None, examples=["/etc/tieline/client.key"])
    """The key of `cert`."""
    verify: Flag = Field(default=True, examples=[True])
    """false: whoever answers is believed to be the service."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("`cert` and `key` belong together: give both or none")
        if not self.verify and (self.san or "ca" in self.model_fields_set):
            raise ValueError("with `verify: false` neither `ca` nor `san` is looked at: remove one or the other")
        return self
