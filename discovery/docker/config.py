"""`kind: docker` in the configuration."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from yarl import URL

from discovery.dns.resolver import Resolver
from discovery.settings import Duration, SourceConfig
from discovery.shared import Shared
from discovery.source import Freshness, Hears, Misconfigured

_EXAMPLES = "unix:///var/run/docker.sock, tcp://docker.example:2376 or http://127.0.0.1:2375"
_LOCALHOST = "127.0.0.1"


def _checked(text: str) -> str:
    try:
        url = URL(text)
        has_port = url.explicit_port is not None
    except ValueError as error:
        raise ValueError(f"{_EXAMPLES} expected: {error}") from error
    if url.user is not None or url.password is not None:
        raise ValueError("no credentials in the address: use tls")
    is_socket = url.scheme == "unix" and url.host is None and url.path.startswith("/") and len(url.path) > 1
    is_host = url.scheme in ("tcp", "http", "https") and url.host and url.path in ("", "/") and not url.query_string
    if not is_socket and not is_host:
        raise ValueError(f"{_EXAMPLES} expected, not {text!r}")
    if is_host and not has_port:
        raise ValueError(f"the port is missing in {text!r}: 2376 is Docker's with TLS")
    return text.rstrip("/")


class Tls(BaseModel):
    """The files are read again for every connection, so they may be renewed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: FilePath | None = None
    """Who may have signed the daemon's certificate; the system's authorities unless said."""
    cert_file: FilePath | None = None
    key_file: FilePath | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class DockerConfig(SourceConfig):
    segments: ClassVar[int] = 2

    kind: Literal["docker"] = "docker"
    address: Annotated[str, AfterValidator(_checked)] = "unix:///var/run/docker.sock"
    """Of Docker's or Podman's API: a Unix socket, or a host and port."""
    tls: Tls | None = None
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    """For one answer. The stream of events may be silent for ever."""
    reach: Literal["auto", "container", "published"] = "auto"
    """By the containers' own addresses, or by the ports their host publishes; `auto`: their own where the daemon is on
    this machine and has root, else published ones."""
    network: str | None = None
    """Call containers on this network, where they are on several and have no label `tieline.network`."""
    host_address: str | None = None
    """Name or address of the containers' host, for published ports and host networks; that in `address` unless said."""
    stopping: Duration = 60.0
    """A container that was sent its stop signal and still runs after this long gets traffic again."""

    @model_validator(mode="after")
    def _tls_goes_with_a_host(self) -> Self:
        if self.tls is not None and self.address.startswith(("unix:", "http:")):
            raise ValueError(f"tls is set but the address is {self.address}: tcp:// or https:// expected")
        return self

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.EVENTS)

    @property
    def is_local(self) -> bool:
        """Whether the daemon is on this machine, as far as its address tells."""
        host = URL(self.address).host
        if self.address.startswith("unix:") or host is None or host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == socket.gethostname()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Shared]:
        try:
            from discovery.docker.api import Api, Files
            from discovery.docker.source import DockerFeed, Reach
        except ModuleNotFoundError as error:
            raise Misconfigured("kind docker needs Docker's SDK: install tieline[docker]") from error
        tls = Files(*(str(file) if file else None for file in self._files())) if self.tls or self._is_https else None
        feed = DockerFeed(
            connect=lambda: Api(self.address, tls, self.timeout),
            reach=Reach(
                local=self.is_local,
                host=self.host_address or (_LOCALHOST if self.is_local else URL(self.address).host or ""),
                published={"auto": None, "container": False, "published": True}[self.reach],
                network=self.network,
            ),
            resolve=Resolver().resolve,
            timeout=self.timeout,
            stopping=self.stopping,
        )
        async with Shared(feed) as source:
            yield source

    @property
    def _is_https(self) -> bool:
        return self.address.startswith("https:")

    def _files(self) -> tuple[FilePath | None, FilePath | None, FilePath | None]:
        tls = self.tls or Tls()
        return tls.ca_file, tls.cert_file, tls.key_file
