"""`kind: consul` in the configuration."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated, ClassVar, Literal, Self

import aiohttp
from pydantic import AfterValidator, Field, SecretStr, model_validator
from yarl import URL

from discovery.consul.api import Api, session
from discovery.consul.credentials import Given, InFile
from discovery.consul.records import Rules
from discovery.consul.service import Asking
from discovery.consul.slots import Slots
from discovery.consul.source import ConsulSource
from discovery.consul.view import Reader
from discovery.dns.resolver import Resolver
from discovery.settings import Duration, SourceConfig
from discovery.source import Freshness, Hears
from discovery.tls import Tls

CONCURRENT_READS = 32
_EXAMPLES = "http://127.0.0.1:8500, https://consul.example:8501 or unix:///run/consul.sock"


def _checked(text: str) -> str:
    try:
        url = URL(text)
    except ValueError as error:
        raise ValueError(f"{_EXAMPLES} expected: {error}") from error
    if url.user is not None or url.password is not None:
        raise ValueError("no credentials in the address: use token_file")
    is_socket = url.scheme == "unix" and url.host is None and len(url.path) > 1
    if not is_socket and (url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment):
        raise ValueError(f"{_EXAMPLES} expected, not {text!r}")
    return text.rstrip("/")


def _sendable(token: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
        raise ValueError("a token of printable ASCII without blanks expected; is there a line break in it?")
    return token


ConsulAddress = Annotated[str, AfterValidator(_checked)]
ConsulToken = Annotated[SecretStr, AfterValidator(_sendable)]


class ConsulConfig(SourceConfig):
    segments: ClassVar[int] = 2

    kind: Literal["consul"] = "consul"
    resync: Duration = 600.0
    """Every blocking query that ends is a full read already, so `wait` bounds what a lost event costs."""
    address: ConsulAddress = "http://127.0.0.1:8500"
    include_tag: bool = False
    """Names are `/<datacenter>/<tag>/<service>`."""
    token: ConsulToken | None = None
    token_file: FilePath | None = None
    """Holds the ACL token; read again when it changes."""
    tls: Tls | None = None
    consistency: Literal["default", "stale", "consistent"] = "default"
    wait: Annotated[Duration, Field(ge=1, le=600)] = 25.0
    """How long a blocking query waits for news."""
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    """For an answer, beyond what a blocking query waits."""
    max_watches: Annotated[int, Field(ge=1, le=10_000)] = 80
    """Blocking queries at once. Twice this and 32 more must fit into the agent's http_max_conns_per_client (200)."""
    namespace: str | None = None
    partition: str | None = None
    warning: bool = False
    """Instances whose worst check is `warning` get traffic too, by their warning weight."""
    tagged_address: str | None = None
    """Prefer this tagged address, such as `wan`."""
    zone_meta: str = "zone"
    """The key in the service's meta, else in the node's, that holds the zone."""

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file are both set: keep one")
        if self.tls is not None and not self.address.startswith("https:"):
            raise ValueError(f"tls is set but the address is {self.address}: https:// expected")
        return self

    @property
    def name_segments(self) -> int:
        return 3 if self.include_tag else 2

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.LONG_POLL)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ConsulSource]:
        slots = Slots(self.max_watches)
        try:
            async with self.api() as api:
                rules = Rules(
                    warning=self.warning,
                    tagged_address=self.tagged_address,
                    zone_meta=self.zone_meta,
                    tags=self.include_tag,
                )
                asking = Asking(Reader(api, Resolver().resolve, rules), slots, self.wait)
                yield ConsulSource(asking=asking, include_tag=self.include_tag, scope=self._scope())
        finally:
            slots.close()

    @asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        """Raises Misconfigured."""
        tls = self.tls.context("Consul") if self.tls else None
        is_socket = self.address.startswith("unix:")
        async with (
            session(self._connector(CONCURRENT_READS, tls)) as reads,
            session(self._connector(self.max_watches, tls)) as watches,
        ):
            yield Api(
                base="http://localhost" if is_socket else self.address,
                shown=self.address,
                reads=reads,
                watches=watches,
                credential=InFile(self.token_file) if self.token_file else Given(self.token),
                timeout=self.timeout,
                server_name=self.tls.server_name if self.tls else None,
            )

    def _connector(self, limit: int, tls: ssl.SSLContext | None) -> aiohttp.BaseConnector:
        url = URL(self.address)
        if url.scheme == "unix":
            return aiohttp.UnixConnector(path=url.path, limit=limit)
        return aiohttp.TCPConnector(limit=limit, ssl=tls or True)

    def _scope(self) -> dict[str, str]:
        named = {"ns": self.namespace, "partition": self.partition}
        consistency: dict[str, str] = {} if self.consistency == "default" else {self.consistency: ""}
        return {**consistency, **{key: value for key, value in named.items() if value}}
