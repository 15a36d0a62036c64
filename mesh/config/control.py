"""The control plane that an agent belongs to: section `control`."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from discovery.tls import Tls
from mesh.config.fields import Flag, Place, Section, text

MOST_URLS = 20
_WORD = r"^[0-9A-Za-z][0-9A-Za-z._-]{0,252}$"
Word = Annotated[str, Field(pattern=_WORD)]


def _urls(value: object) -> object:
    """One, or a list of them."""
    return tuple(_url(text(each)) for each in (value if isinstance(value, list | tuple) else (value,)))


def _url(text: str) -> str:
    try:
        url = urlsplit(text)
        fits = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        fits = False
    if not fits or url.username or url.query or url.fragment or url.path.strip("/"):
        raise ValueError("a URL such as https://control.example:4180 expected: http or https, a host, perhaps a port")
    return text.rstrip("/")


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Urls = Annotated[
    tuple[str, ...],
    BeforeValidator(_urls),
    Field(min_length=1, max_length=MOST_URLS),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


class ControlTls(Section):
    ca: Place | None = Field(default=None, examples=["/etc/tieline/ca.pem"])
    """The file of the authorities that sign the control plane's certificate. null: those that this host trusts."""
    cert: Place | None = Field(default=None, examples=["/etc/tieline/agent.pem"])
    """The certificate by which the control plane knows this agent. null: none, a token does."""
    key: Place | None = Field(default=None, examples=["/etc/tieline/agent.key"])
    """The key of `cert`."""
    server_name: Word | None = Field(default=None, examples=["control.example"])
    """The name in the control plane's certificate. null: the host of the URL."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("`cert` and `key` belong together: give both or none")
        return self

    @property
    def tls(self) -> Tls:
        return Tls(ca_file=self.ca, cert_file=self.cert, key_file=self.key, server_name=self.server_name)


class Reached(Section):
    """How a control plane is reached."""

    url: Urls
    token_file: Place | None = Field(default=None, examples=["/etc/tieline/token"])
    """A file that holds the token to show there, read again each time. null: none, a certificate does."""
    tls: ControlTls = Field(default_factory=ControlTls)
    """For `https`: whom to believe, and by what to be known."""
    insecure: Flag = Field(default=False, examples=[True])
    """Permit `http` to another host: tables, endpoints and the token can be read and changed on the way."""

    @model_validator(mode="after")
    def _safe(self) -> Self:
        for each in self.url:
            if each.startswith("http://") and not _is_here(each) and not self.insecure:
                raise ValueError(f"{each} is not encrypted: write https, or `insecure: true` if that is meant")
        return self

    def token(self) -> str | None:
        """Raises OSError."""
        return None if self.token_file is None else self.token_file.read_text().strip()

    def context(self) -> ssl.SSLContext | bool:
        """Raises Misconfigured."""
        is_needed = any(each.startswith("https:") for each in self.url)
        return self.tls.tls.context("the control plane") if is_needed else True


class Control(Reached):
    url: Urls = Field(examples=["https://control.example:4180"])
    """Where the control plane is: one URL, or a list of its replicas, of which another is tried when one is gone."""
    namespace: Word = Field(default="default", examples=["default"])
    """Whose table and policies hold here. Those of this file come after them, so that they win."""
    name: Word = Field(default_factory=socket.gethostname, examples=["host7"])
    """What this agent is called there. Without it: the name of the host."""
