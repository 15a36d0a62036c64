"""Calls to AWS by boto3, in threads, at the pace of the account's bucket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from discovery.aws import bucket
from discovery.aws.bucket import Bucket
from discovery.aws.connections import Connections
from discovery.aws.failures import Question, Throttled, expected, told
from discovery.aws.session import Login, Session
from discovery.aws.threads import Threads
from discovery.source import Unavailable

_THREADS = 4
_LOGIN_SECONDS = 30.0
"""boto3 reads megabytes of models first, and may have to ask for credentials."""
_TRIES = 8
"""Of a call that AWS throttles, each at a lower pace than the one before."""
_UNPACED = frozenset(("sqs",))
"""Counts and charges calls but hardly limits them."""


class Aws:
    def __init__(self, login: Login, services: Iterable[str], *, timeout: float, calls_per_second: float) -> None:
        self._login = login
        self._services = frozenset(services)
        self._timeout = timeout
        self._rate = calls_per_second
        self._session = Session(login, _THREADS)
        self._connections = Connections()
        self._threads = Threads(_THREADS, self._connections.interrupt, self._connections.forget)
        # Who waits for a thread has not taken his turn yet: a turn that is used late is too close to the next ones.
        self._free = asyncio.Semaphore(_THREADS)
        self._clients: dict[str, Any] = {}
        self._buckets: dict[str, Bucket] = {}

    @property
    def account_and_region(self) -> str:
        """What a bucket is shared by; '' before the first call."""
        where = self._login.endpoint_url
        return f"{self._session.account} {self._session.region} {where or ''}".strip()

    async def call(self, service: str, operation: str, /, **parameters: object) -> dict[str, Any]:
        """The answer of that method of boto3's client. Raises `SourceError`; `Refused` with AWS's own code.

        An answer without the member you need is no answer: botocore reads what it can and leaves out the rest.
        A call that is throttled slows the bucket and is made again a few times, since AWS has not answered it.
        """
        assert service in self._services, f"{service} was not opened"
        client = self._clients.get(service) or await self._client(service)
        for _ in range(_TRIES - 1):
            try:
                return await self._paced(client, service, operation, parameters)
            except Throttled:
                continue
        return await self._paced(client, service, operation, parameters)

    def close(self) -> None:
        self._threads.close()
        for client in self._clients.values():
            client.close()
        self._connections.close()

    async def _client(self, service: str) -> Any:
        asked = Question(service, "", self._login.endpoint(service) or self._login.region or "this region")
        client = await self._in_thread(asked, _LOGIN_SECONDS, lambda: self._session.client(service))
        self._connections.watch(client)
        client.meta.events.register("after-call", _must_be_an_answer)
        return self._clients.setdefault(service, client)

    async def _paced(
        self, client: Any, service: str, operation: str, parameters: Mapping[str, object]
    ) -> dict[str, Any]:
        asked = Question(
            service=service,
            operation=client.meta.method_to_api_mapping[operation],
            where=self._login.endpoint(service) or self._session.region,
            role=self._login.role_arn,
        )
        if service in _UNPACED:
            return await self._ask(client, operation, parameters, asked)
        paced = self._bucket(service)
        async with self._free:
            turn = await paced.take()
            try:
                answer = await self._ask(client, operation, parameters, asked)
            except Throttled:
                paced.throttled()
                raise
            finally:
                turn.over()
        paced.answered()
        return answer

    async def _ask(
        self, client: Any, operation: str, parameters: Mapping[str, object], asked: Question
    ) -> dict[str, Any]:
        seconds = self._timeout + float(str(parameters.get("WaitTimeSeconds", 0)))
        answer: dict[str, Any] = await self._in_thread(asked, seconds, lambda: getattr(client, operation)(**parameters))
        return answer

    async def _in_thread(self, asked: Question, seconds: float, function: Callable[[], Any]) -> Any:
        def asking() -> Any:
            try:
                return function()
            except expected() as error:
                raise told(error, asked) from error

        try:
            async with asyncio.timeout(seconds):
                return await self._threads.run(asking)
        except TimeoutError as error:
            raise Unavailable(f"{asked} has not been answered within {seconds:g} s") from error

    def _bucket(self, service: str) -> Bucket:
        if service not in self._buckets:
            self._buckets[service] = bucket.shared(f"{self.account_and_region} {service}", self._rate)
        return self._buckets[service]


def _must_be_an_answer(http_response: Any, parsed: Mapping[str, object], model: Any, **_: object) -> None:
    """botocore reads half a JSON body, or a page of a proxy, as an answer with nothing in it."""
    length = http_response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > len(http_response.content):
        raise Unavailable(f"the answer to {model.name} breaks off after {len(http_response.content)} of {length} bytes")
    if http_response.status_code >= 300 or model.output_shape is None or set(parsed) - {"ResponseMetadata"}:
        return
    if model.service_model.resolved_protocol == "json" and not _is_an_object(http_response.content):
        raise Unavailable(f"the answer to {model.name} is no JSON object")


def _is_an_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
