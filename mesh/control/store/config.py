"""`store:` in the control plane's configuration: where versions are kept. `open()` does no I/O: a store that is away
fails the calls, not the start.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Literal, Self

import aiohttp
from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from discovery.consul.config import ConsulAddress, ConsulConfig, ConsulToken
from discovery.source import Misconfigured
from discovery.tls import Tls
from mesh.config.fields import Place, Section, Time
from mesh.control.store.consul import ConsulKeys
from mesh.control.store.etcd import EtcdKeys
from mesh.control.store.etcd_api import EtcdApi, User
from mesh.control.store.keyvalue import KeyValueStore
from mesh.control.store.protocol import Refused
from mesh.control.store.sqlite import SqliteStore


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", text):
        raise ValueError(f"a prefix such as tieline or mesh/site-a expected, not {text!r}")
    return text


def _endpoint(text: str) -> str:
    expected = "http://127.0.0.1:2379 or https://etcd.example:2379 expected"
    try:
        url = URL(text)
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from error
    if url.user is not None or url.password is not None:
        raise ValueError("no credentials in an endpoint: use user and password_file")
    if url.scheme not in ("http", "https") or not url.host or url.path not in ("", "/") or url.query_string:
        raise ValueError(f"{expected}, not {text!r}")
    return text.rstrip("/")


Prefix = Annotated[str, AfterValidator(_prefix)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]


class SqliteStoreConfig(Section):
    """One file on this machine, for one control plane."""

    kind: Literal["sqlite"] = "sqlite"
    file: Place = Field(examples=["/var/lib/tieline/control.sqlite"])
    """Made if it is not there; its folder is Tieline's."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqliteStore]:
        async with SqliteStore(self.file) as store:
            yield store


class ConsulStoreConfig(Section):
    kind: Literal["consul"] = "consul"
    address: ConsulAddress = "http://127.0.0.1:8500"
    """Of an agent or a server; http, https or unix."""
    token: ConsulToken | None = None
    """The ACL token; better in `token_file`."""
    token_file: Place | None = None
    """Holds the ACL token, which needs `key_prefix "<prefix>/" { policy = "write" }`; read again when it changes."""
    tls: Tls | None = None
    prefix: Prefix = "tieline"
    """All keys are under it."""
    timeout: Time = 5.0
    """For an answer."""

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        self._reached()
        return self

    @asynccontextmanager
    async def open(self) -> AsyncIterator[KeyValueStore]:
        """Raises Refused."""
        needs = f'key_prefix "{self.prefix}/" {{ policy = "write" }}'
        try:
            opened = self._reached().api()
            async with opened as api:
                yield KeyValueStore(ConsulKeys(replace(api, needs=needs)), self.prefix)
        except Misconfigured as error:
            raise Refused(str(error)) from error

    def _reached(self) -> ConsulConfig:
        """As a source would reach it. What is wrong in that is wrong here."""
        return ConsulConfig(
            address=self.address, token=self.token, token_file=self.token_file, tls=self.tls, timeout=self.timeout
        )


class EtcdStoreConfig(Section):
    kind: Literal["etcd"] = "etcd"
    endpoints: tuple[Endpoint, ...] = Field(default=("http://127.0.0.1:2379",), min_length=1)
    """The members of one cluster; when one can't be asked the next is."""
    user: str | None = None
    """With `password_file`, where etcd has authentication. Its role needs readwrite on all keys under the prefix."""
    password_file: Place | None = None
    """Holds the user's password; read at each login."""
    tls: Tls | None = None
    prefix: Prefix = "tieline"
    """All keys are under it."""
    timeout: Time = 5.0
    """For an answer of one member."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together")
        if self.tls is not None and not all(each.startswith("https:") for each in self.endpoints):
            raise ValueError("tls is set, but not all endpoints are https://")
        return self

    @asynccontextmanager
    async def open(self) -> AsyncIterator[KeyValueStore]:
        """Raises Refused."""
        try:
            context = self.tls.context("etcd") if self.tls else None
        except Misconfigured as error:
            raise Refused(str(error)) from error
        connector = aiohttp.TCPConnector(ssl=context or True)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            api = EtcdApi(
                session,
                self.endpoints,
                user=User(self.user, self.password_file) if self.user and self.password_file else None,
                timeout=self.timeout,
                server_name=self.tls.server_name if self.tls else None,
            )
            yield KeyValueStore(EtcdKeys(api), self.prefix)


StoreConfig = Annotated[SqliteStoreConfig | ConsulStoreConfig | EtcdStoreConfig, Field(discriminator="kind")]
