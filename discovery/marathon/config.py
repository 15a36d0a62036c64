"""`kind: marathon` in the configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated, ClassVar, Literal, Self

import aiohttp
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from yarl import URL

from discovery.dns.resolver import Resolver
from discovery.documented import Documented
from discovery.marathon.api import Api, session
from discovery.marathon.credentials import Anonymous, Basic, Credential, SecretFile, Token
from discovery.marathon.hosts import Hosts
from discovery.marathon.login import KeyFile, SecretJson, ServiceAccount, Sign
from discovery.marathon.masters import Masters
from discovery.marathon.ports import Rules
from discovery.marathon.source import MarathonFeed
from discovery.settings import Duration, SourceConfig
from discovery.shared import Shared
from discovery.source import Freshness, Hears, Misconfigured
from discovery.tls import Tls

CONNECTIONS = 16
_EXAMPLES = "http://marathon.mesos:8080 or https://leader.mesos/service/marathon"


def _checked(text: str) -> str:
    try:
        url = URL(text)
    except ValueError as error:
        raise ValueError(f"{_EXAMPLES} expected: {error}") from error
    if url.user is not None or url.password is not None:
        raise ValueError("no credentials in the address: use login, token_file, or user and password_file")
    if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
        raise ValueError(f"{_EXAMPLES} expected, not {text!r}")
    return text.rstrip("/")


Address = Annotated[str, AfterValidator(_checked)]


class Login(Documented):
    """A service account of DC/OS. `secret_file`, or `uid`, `url` and `private_key_file`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Address | None = None
    """Such as `https://leader.mesos/acs/api/v1/auth/login`; with `secret_file` instead of its `login_endpoint`."""
    uid: str | None = None
    private_key_file: FilePath | None = None
    """RSA, in PEM; read at each login."""
    secret_file: FilePath | None = None
    """The JSON that DC/OS keeps of a service account: uid, private_key, login_endpoint, scheme."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.secret_file is not None:
            if self.uid is not None or self.private_key_file is not None:
                raise ValueError("secret_file holds uid and key already: leave uid and private_key_file away")
        elif self.uid is None or self.url is None or self.private_key_file is None:
            raise ValueError("secret_file, or all of uid, url and private_key_file expected")
        return self

    def stored(self) -> KeyFile | SecretJson:
        if self.secret_file is not None:
            return SecretJson(self.secret_file, self.url)
        assert self.uid is not None
        assert self.url is not None
        assert self.private_key_file is not None
        return KeyFile(self.uid, self.url, self.private_key_file)


class MarathonConfig(SourceConfig):
    segments: ClassVar[int] = 16
    longest: ClassVar[bool] = True

    kind: Literal["marathon"] = "marathon"
    addresses: Annotated[tuple[Address, ...], Field(min_length=1)] = ("http://marathon.mesos:8080",)
    """The masters, or what stands before them. When one fails, the next is asked."""
    login: Login | None = None
    token_file: FilePath | None = None
    """Holds a DC/OS token that somebody else renews; read again when it changes."""
    user: str | None = None
    password_file: FilePath | None = None
    """With `user`: basic authentication; read again when it changes."""
    tls: Tls | None = None
    port: Annotated[int, Field(ge=0, le=1000)] | Annotated[str, Field(min_length=1)] = 0
    """Which of an app's ports is called, by index or name. An app's label `tieline.port` goes before it."""
    labels: tuple[str, ...] = ()
    """These labels of an app become metadata, besides those that begin with `tieline.`."""
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    """For an answer to begin, and for it to go on."""
    idle_timeout: Annotated[Duration, Field(gt=0)] = 30.0
    """A stream of events without a byte for this long is left. Marathon sends at least a line end every 10 seconds."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if sum(way is not None for way in (self.login, self.token_file, self.user)) > 1:
            raise ValueError("login, token_file and user are three ways to say who we are: keep one")
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together")
        if len(set(self.addresses)) < len(self.addresses):
            raise ValueError("addresses names a master twice")
        login_url = self.login.url if self.login else None
        if self.tls is not None and not any(url.startswith("https:") for url in (*self.addresses, login_url or "")):
            raise ValueError("tls is set but no address begins with https://")
        return self

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.EVENTS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Shared]:
        context = self.tls.context("Marathon") if self.tls else True
        async with session(aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context)) as http:
            api = Api(
                masters=Masters(self.addresses),
                session=http,
                credential=self._credential(http),
                timeout=self.timeout,
                idle_timeout=self.idle_timeout,
                server_name=self.tls.server_name if self.tls else None,
            )
            feed = MarathonFeed(api, Hosts(Resolver().resolve), Rules(self.port, self.labels))
            async with Shared(feed) as source:
                yield source

    def _credential(self, http: aiohttp.ClientSession) -> Credential:
        if self.login is not None:
            return ServiceAccount(self.login.stored(), _signing(), http, self.timeout)
        if self.token_file is not None:
            return Token(SecretFile(self.token_file, "token_file"))
        if self.user is not None and self.password_file is not None:
            return Basic(self.user, SecretFile(self.password_file, "password_file"))
        return Anonymous()


def _signing() -> Sign:
    try:
        import jwt
    except ModuleNotFoundError as error:
        raise Misconfigured("login needs PyJWT: install tieline[marathon]") from error

    def sign(key: str, claims: dict[str, str | int]) -> str:
        try:
            return jwt.encode(claims, key, algorithm="RS256")
        except (jwt.PyJWTError, TypeError) as error:
            raise ValueError(str(error)) from error

    return sign
