"""Docker's API as far as we ask it, by Docker's SDK. It blocks; what went wrong is told by `SourceError`s."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import docker
import docker.errors
import docker.tls
import requests
import urllib3.exceptions

from discovery.docker import events, records
from discovery.docker.connections import Adapter, Live
from discovery.docker.events import Event
from discovery.docker.reading import Malformed
from discovery.docker.records import Container
from discovery.source import Misconfigured, SourceError, Unavailable

T = TypeVar("T")

_EXCERPT = 200
_OLDEST = "1.24"
_FAILURES = (
    requests.RequestException,
    docker.errors.DockerException,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)
_OF_PROXY = "a proxy before the socket must allow GET of /version, /info, /events and /containers"


class Slow(Unavailable):
    """No answer in time."""


@dataclass(frozen=True, slots=True)
class Files:
    """Of TLS; `ca` and `cert` with `key`."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """`clock`: seconds since the epoch there. `lists_health`: Podman's list does not."""

    name: str
    clock: str
    lists_health: bool
    rootless: bool


class Api:
    """One session with a daemon. `address` as in the configuration; `tls`: None for none."""

    def __init__(self, address: str, tls: Files | None, timeout: float) -> None:
        self._address, self._tls, self._timeout = address, tls, timeout
        self._live = Live()
        self._client: Any = None
        self._stream: Any = None

    def connect(self) -> Server:
        tls = self._checked_tls()
        with self._asked("/version", lambda: self._made(_OLDEST, tls)) as any_version:
            version = self._asked("/version", lambda: any_version.version(api_version=False))
        said = _field(version, "ApiVersion", "/version")
        if re.fullmatch(r"\d+\.\d+", said) is None:
            raise Unavailable(f"{self._who} answers /version with the API version {said[:50]!r}")
        self._client = self._asked("/version", lambda: self._made(said, tls))
        info = self._asked("/info", self._client.info)
        parts = version.get("Components") or ()
        return Server(
            name=_field(info, "Name", "/info"),
            clock=_clock(_field(info, "SystemTime", "/info")),
            lists_health=not any(isinstance(part, dict) and "Podman" in str(part.get("Name")) for part in parts),
            rootless="name=rootless" in (info.get("SecurityOptions") or ()),
        )

    def containers(self, ids: tuple[str, ...] = ()) -> list[Container]:
        """All there are, stopped ones too, or those with one of `ids`."""
        query = {"all": "1", **({"filters": json.dumps({"id": ids})} if ids else {})}
        url = f"{self._client.base_url}/v{self._client.api_version}/containers/json"
        # Not the SDK's `containers`: it makes objects of the whole list at once, and holds up every thread meanwhile.
        body = self._asked(
            "/containers/json", lambda: _text(self._client.get(url, params=query, timeout=self._timeout))
        )
        return self._understood("/containers/json", lambda: list(records.listed(body)))

    def container(self, id: str) -> Container | None:
        """None: there is none, or it is of no service."""
        path = f"/containers/{id[:12]}/json"
        try:
            found = self._asked(path, lambda: self._client.inspect_container(id))
        except _NotFound:
            return None
        container = self._understood(path, lambda: records.inspected(found))
        if container is None or container.shares in ("", "host"):
            return container
        return self._with_network_of(container)

    def events(self, since: str, begun: Callable[[], None], heard: Callable[[Event], None]) -> None:
        """Returns when the stream ends. `begun`: the daemon has answered."""
        self._stream = self._asked(
            # Not decoded by the SDK: it waits for more whenever it can't parse, so garbage would silence the stream.
            "/events",
            lambda: self._client.events(since=since, filters=dict(events.FILTERS)),
        )
        if self._live.is_cut:
            return self.cut()
        begun()
        chunks: Iterator[bytes] = iter(self._stream)
        rest = b""
        while (chunk := self._asked("/events", lambda: next(chunks, None))) is not None:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = self._understood("/events", partial(events.event, line)) if line.strip() else None
                if event is not None:
                    heard(event)
        return None

    def cut(self) -> None:
        """Ends every call, in whatever thread it is."""
        if self._stream is not None:
            with contextlib.suppress(OSError, AttributeError, ValueError):  # it has ended already
                self._stream.close()
        self._live.cut()

    def close(self) -> None:
        """When no call is left. Pools would close their connections only when nobody refers to them any more."""
        self._live.close()
        if self._client is not None:
            self._client.close()
        self._client = self._stream = None

    def _with_network_of(self, container: Container) -> Container:
        """Of `--network container:<other>`: the other one's addresses and published ports are this one's."""
        other = self._asked(
            f"/containers/{container.shares[:12]}/json", lambda: self._client.inspect_container(container.shares)
        )
        return self._understood(f"/containers/{container.shares[:12]}/json", lambda: records.sharing(container, other))

    @property
    def _who(self) -> str:
        return f"Docker at {self._address}"

    def _made(self, version: str, tls: Any) -> Any:
        client = docker.APIClient(base_url=self._address, version=version, timeout=self._timeout, tls=tls or False)
        client.trust_env = False
        is_unix = self._address.startswith("unix:")
        adapter = Adapter(self._live, self._address.removeprefix("unix://") if is_unix else None, self._timeout)
        for scheme in ("http+docker://", "http://", "https://"):
            client.mount(scheme, adapter)
        return client

    def _checked_tls(self) -> Any:
        """Read anew for every session, so that renewed certificates are used."""
        if self._tls is None:
            return None
        files = self._tls
        try:
            context = ssl.create_default_context(cafile=files.ca)
            if files.cert is not None:
                context.load_cert_chain(files.cert, files.key)
        except OSError as error:
            named = ", ".join(filter(None, (files.ca, files.cert, files.key)))
            raise Misconfigured(f"TLS to Docker: one of {named} cannot be used: {error.strerror or error}") from error
        pair = (files.cert, files.key) if files.cert else None
        return docker.tls.TLSConfig(client_cert=pair, ca_cert=files.ca, verify=True)

    def _asked(self, path: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except docker.errors.NotFound as error:
            raise _NotFound(f"{self._who} answers 404 to {path}") from error
        except docker.errors.APIError as error:
            raise self._refusal(path, error) from error
        except _FAILURES as error:
            raise self._failure(path, error) from error

    def _understood(self, path: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except Malformed as error:
            raise Unavailable(f"the answer of {self._who} to {path} makes no sense: {error}") from error

    def _refusal(self, path: str, error: Any) -> SourceError:
        said = " ".join(str(error.explanation or "").split())[:_EXCERPT]
        text = f"{self._who} answers {error.status_code} to {path}: {said}"
        if error.status_code in (401, 403):
            return Misconfigured(f"{text} ({_OF_PROXY})")
        return Misconfigured(text) if error.status_code == 400 else Unavailable(text)

    def _failure(self, path: str, error: BaseException) -> SourceError:
        causes = list(_causes(error))
        refused = next((each for each in causes if isinstance(each, ssl.SSLError)), None)
        if refused is not None:
            return Unavailable(f"{self._who}: TLS failed: {refused.reason or refused.args[-1]}")
        last = next((each for each in causes if isinstance(each, OSError) and each.errno), None)
        is_late = any(isinstance(each, TimeoutError | urllib3.exceptions.TimeoutError) for each in causes)
        if last is None and is_late:
            return Slow(f"{self._who} has not answered {path} within {self._timeout:g} s")
        if last is None:
            return Unavailable(f"{self._who}: the answer to {path} broke off or is none: {type(error).__name__}")
        if last.errno in (errno.EACCES, errno.EPERM):
            return Misconfigured(
                f"{self._who} may not be asked: {last.strerror}; add the agent's user to the group docker,"
                " or give it a socket it may read"
            )
        if last.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return Unavailable(f"{self._who} is not there: {last.strerror}; start it, or correct `address`")
        return Unavailable(f"{self._who} cannot be asked: {last.strerror}")


class _NotFound(Unavailable):
    pass


def _causes(error: BaseException) -> Iterator[BaseException]:
    """It, what it wraps, and what it came from, the outermost first: requests and urllib3 do each."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if any(each is one for one in seen):
            continue
        seen.append(each)
        yield each
        inner = [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
        waiting += [one for one in inner if isinstance(one, BaseException)]


def _text(response: requests.Response) -> str:
    if response.status_code >= 400:
        raise docker.errors.APIError(response.reason, response=response, explanation=response.text)
    return response.content.decode()


def _field(said: object, key: str, path: str) -> str:
    value = said.get(key) if isinstance(said, Mapping) else None
    if not isinstance(value, str):
        raise Unavailable(f"Docker's answer to {path} makes no sense: no {key} in it")
    return value


def _clock(text: str) -> str:
    """`2026-11-24T22:58:17.384766463Z` -> what `since` takes."""
    try:
        return f"{datetime.fromisoformat(text).timestamp():.6f}"
    except ValueError:
        raise Unavailable(f"Docker's answer to /info makes no sense: SystemTime is {text[:50]!r}") from None
