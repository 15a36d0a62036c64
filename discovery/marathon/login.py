"""The service account of DC/OS: a token that says who we are, signed with our key, is exchanged for one to work with.

`POST <url> {"uid": …, "token": JWT RS256 {uid, exp}}` answers `{"token": …}`, good for days; when a request is refused
with 401 we log in anew. Source: DC/OS, "Service Login" and "Authentication Token".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import NotRequired

import aiohttp
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from discovery.marathon.records import first_error
from discovery.source import Misconfigured, Unavailable

GOOD_FOR_SECONDS = 300
"""The token that is used once, to log in. Long enough for clocks that differ by minutes."""

Sign = Callable[[str, dict[str, str | int]], str]
"""Private key in PEM, claims -> JWT. Raises ValueError."""


class _Secret(TypedDict):
    uid: str
    private_key: str
    login_endpoint: NotRequired[str | None]
    scheme: NotRequired[str | None]


class _Answer(TypedDict):
    token: str


_SECRET = TypeAdapter(_Secret)
_ANSWER = TypeAdapter(_Answer)


@dataclass(frozen=True, slots=True)
class Account:
    uid: str
    url: str
    key: str


@dataclass(frozen=True, slots=True)
class KeyFile:
    uid: str
    url: str
    file: FilePath

    def account(self) -> Account:
        """Read each time it is needed, which is seldom. Raises Misconfigured."""
        return Account(self.uid, self.url, _text(self.file, "login.private_key_file"))


@dataclass(frozen=True, slots=True)
class SecretJson:
    """What DC/OS gives a service as `DCOS_SERVICE_ACCOUNT_CREDENTIAL`. `url`: instead of its `login_endpoint`."""

    file: FilePath
    url: str | None

    def account(self) -> Account:
        where = f"login.secret_file {self.file}"
        try:
            secret = _SECRET.validate_json(_text(self.file, "login.secret_file"))
        except ValidationError as error:
            raise Misconfigured(f"{where} makes no sense: {first_error(error)}") from None
        if (secret.get("scheme") or "RS256") != "RS256":
            raise Misconfigured(f"{where}: scheme RS256 expected, not {secret.get('scheme')}")
        url = self.url or secret.get("login_endpoint")
        if not url:
            raise Misconfigured(f"{where} has no login_endpoint: set login.url")
        return Account(secret["uid"], url, secret["private_key"])


class ServiceAccount:
    def __init__(
        self, stored: KeyFile | SecretJson, sign: Sign, session: aiohttp.ClientSession, timeout: float
    ) -> None:
        self._stored, self._sign, self._session, self._timeout = stored, sign, session, timeout
        self._header = ""
        self._one_at_a_time = asyncio.Lock()

    async def header(self) -> str:
        async with self._one_at_a_time:
            self._header = self._header or await self._log_in(self._stored.account())
            return self._header

    async def renew(self, refused: str) -> bool:
        if self._header == refused:
            self._header = ""
        return True

    async def _log_in(self, account: Account) -> str:
        claims: dict[str, str | int] = {"uid": account.uid, "exp": int(time.time()) + GOOD_FOR_SECONDS}
        try:
            token = self._sign(account.key, claims)
        except ValueError as error:
            raise Misconfigured(f"the private key of {account.uid} cannot be used: {error}") from None
        where = f"the login of {account.uid} at {account.url}"
        status, body = await self._post(account.url, {"uid": account.uid, "token": token}, where)
        if status == 429 or status >= 500:
            raise Unavailable(f"{where} is answered with {status}")
        if status != 200:
            raise Misconfigured(f"{where} is refused with {status}: is that the account, is that its key?")
        try:
            return f"token={_ANSWER.validate_json(body, strict=True)['token']}"
        except ValidationError as error:
            raise Unavailable(f"{where} is answered with nonsense: {first_error(error)}") from None

    async def _post(self, url: str, body: dict[str, str], where: str) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        try:
            async with self._session.post(url, json=body, timeout=timeout, allow_redirects=False) as response:
                return response.status, await response.read()
        except TimeoutError as error:
            raise Unavailable(f"{where} has no answer within {self._timeout:g} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{where} fails: {error}") from error


def _text(file: FilePath, key: str) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError as error:
        raise Misconfigured(f"{key} {file} cannot be read: {error.strerror}") from error
