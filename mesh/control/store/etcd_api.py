"""etcd's v3 API over its JSON gateway, as far as a store asks it. <https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/>

By hand, because of the clients for Python that are maintained none does what a store needs: `etcd3gw` (this gateway)
blocks, `aetcd` (gRPC) is for asyncio; both ask one member only, and neither can ask for a watch that ends when its
member has lost the leader. Five calls are less than what would have to be added to either.

Every request says `hasleader`: a member that knows no leader refuses at once, and ends the watches it has.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as File
from typing import NotRequired, TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mesh.control.store.protocol import Refused, StoreError, Unavailable

T = TypeVar("T")

CONNECT_SECONDS = 2.0
_EXCERPT = 200
_HAS_LEADER = {"Grpc-Metadata-hasleader": "true"}
# Codes of gRPC: asking again may help. ResourceExhausted is a full quota, or too many requests.
_PASSING = {1, 4, 8, 10, 13, 14, 15}
_PERMISSION_DENIED, _UNAUTHENTICATED = 7, 16
# With code 3, each cured by logging in.
_STALE_LOGIN = ("user name is empty", "revision of auth store is old")


class _Said(TypedDict):
    """How the gateway tells of an error; within a stream the code has another name."""

    message: NotRequired[str]
    error: NotRequired[str]
    code: NotRequired[int]
    grpc_code: NotRequired[int]


class _Login(TypedDict):
    token: str


_SAID = TypeAdapter(_Said)
_LOGIN = TypeAdapter(_Login)


@dataclass(frozen=True, slots=True)
class User:
    name: str
    password_file: File

    def password(self) -> str:
        """Read at each login: it may change. Raises Refused."""
        try:
            return self.password_file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"password_file {self.password_file} cannot be read: {error}") from None


class EtcdApi:
    """Every question may be asked twice: what answers it must bear that."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoints: tuple[str, ...],
        *,
        user: User | None = None,
        timeout: float = 5.0,
        server_name: str | None = None,
    ) -> None:
        self.timeout = timeout
        self._session = session
        self._endpoints = endpoints
        self._user = user
        self._server_name = server_name
        self._token = ""
        self._logging_in = asyncio.Lock()

    @property
    def first(self) -> str:
        """The member that is asked first."""
        return self._endpoints[0]

    def avoid(self, endpoint: str) -> None:
        """It is asked last from now on."""
        self._endpoints = (*(each for each in self._endpoints if each != endpoint), endpoint)

    async def ask(self, path: str, question: object, answer: TypeAdapter[T]) -> T:
        """Of the member that answered last, else of the others in turn."""
        failures: list[Unavailable] = []
        for endpoint in self._endpoints:
            try:
                return await self.ask_at(endpoint, path, question, answer)
            except Unavailable as error:
                failures.append(error)
                self.avoid(endpoint)
        if len(failures) == 1:
            raise failures[0]
        raise Unavailable(f"no member of etcd can be asked: {'; '.join(map(str, failures))}")

    async def ask_at(self, endpoint: str, path: str, question: object, answer: TypeAdapter[T]) -> T:
        with told(endpoint, path, self.timeout):
            async with asyncio.timeout(self.timeout), await self._posted(endpoint, path, question) as response:
                return parsed(answer, await response.read(), endpoint, path)

    async def stream(self, endpoint: str, path: str, question: object) -> aiohttp.ClientResponse:
        """An answer without end, for the caller to close."""
        with told(endpoint, path, self.timeout):
            async with asyncio.timeout(self.timeout):
                return await self._posted(endpoint, path, question)

    async def _posted(self, endpoint: str, path: str, question: object) -> aiohttp.ClientResponse:
        """The answer, which is no refusal."""
        token = await self._logged_in(endpoint, than="")
        response = await self._post(endpoint, path, question, token)
        if response.status != 200 and self._user is not None:
            body = await response.read()
            if _is_stale(body):
                token = await self._logged_in(endpoint, than=token)
                response = await self._post(endpoint, path, question, token)
        if response.status != 200:
            raise refusal(endpoint, path, response.status, await response.read())
        return response

    async def _post(self, endpoint: str, path: str, question: object, token: str) -> aiohttp.ClientResponse:
        headers = {**_HAS_LEADER, "Authorization": token} if token else _HAS_LEADER
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        for fresh in (False, True):
            try:
                return await self._session.post(
                    f"{endpoint}{path}",
                    json=question,
                    headers=headers,
                    timeout=timeout,
                    allow_redirects=False,
                    server_hostname=self._server_name,
                )
            except aiohttp.ClientConnectionError as error:
                # A connection may have been closed while nobody used it: aiohttp does not ask again for a POST.
                if fresh or not _is_cut_off(error):
                    raise
        raise AssertionError("unreachable")

    async def _logged_in(self, endpoint: str, than: str) -> str:
        """A token other than `than`; '' where no user is configured."""
        if self._user is None:
            return ""
        async with self._logging_in:
            if not self._token or self._token == than:
                question = {"name": self._user.name, "password": self._user.password()}
                path = "/v3/auth/authenticate"
                async with await self._post(endpoint, path, question, "") as response:
                    body = await response.read()
                if response.status != 200:
                    raise refusal(endpoint, path, response.status, body)
                self._token = parsed(_LOGIN, body, endpoint, path)["token"]
            return self._token


def parsed(adapter: TypeAdapter[T], body: bytes, endpoint: str, path: str) -> T:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Unavailable(
            f"the answer of etcd at {endpoint} to {path} makes no sense: {where} {first['msg']}"
        ) from None


def refusal(endpoint: str, path: str, status: int, body: bytes) -> StoreError:
    """What is raised for an answer that is none."""
    code, message = _told_by(body)
    text = f"etcd at {endpoint} answers {status} to {path}: {message[:_EXCERPT]}"
    if status == 404:
        return Refused(f"{text} (is it etcd 3.4 or newer, with --enable-grpc-gateway?)")
    if code == _PERMISSION_DENIED:
        return Refused(f"{text} (the user's role needs readwrite on all keys with the prefix)")
    if code in _PASSING or (code == 0 and (status == 429 or status >= 500)):
        return Unavailable(text)
    return Refused(text)


def _told_by(body: bytes) -> tuple[int, str]:
    """The code, 0 where there is none, and the message."""
    try:
        said = _SAID.validate_json(body)
    except ValidationError:
        return 0, " ".join(body.decode(errors="replace").split())
    return said.get("code") or said.get("grpc_code") or 0, said.get("message") or said.get("error") or ""


def _is_stale(body: bytes) -> bool:
    code, message = _told_by(body)
    return code == _UNAUTHENTICATED or any(each in message for each in _STALE_LOGIN)


def _is_cut_off(error: aiohttp.ClientConnectionError) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ECONNRESET, errno.EPIPE)
    return isinstance(error, aiohttp.ServerDisconnectedError)


@contextmanager
def told(endpoint: str, path: str, seconds: float) -> Iterator[None]:
    """What goes wrong on the way, as Unavailable."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"etcd at {endpoint} has not answered {path} within {seconds:g} s") from error
    except aiohttp.ClientError as error:
        raise Unavailable(f"etcd at {endpoint} cannot be asked for {path}: {error}") from error
