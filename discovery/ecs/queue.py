"""EventBridge's "ECS Task State Change" events from an SQS queue.

The queue is emptied while any cluster is observed: SQS hands each event to one who asks, so it is one agent's alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from discovery.aws.api import Aws
from discovery.aws.session import LONGEST_WAIT_SECONDS
from discovery.ecs import records
from discovery.ecs.records import Malformed, Task
from discovery.source import SourceError, Unavailable


class Unread:
    """Something was said that can't be understood: only reading everything tells what."""


Heard = Task | Unread | SourceError
"""A failure is the last that is heard."""
Ear = asyncio.Queue[Heard]

_MOST = 10
"""Messages that SQS gives at once."""


class Queue:
    """`async with Queue(…) as queue`: it is left only after all have stopped listening."""

    def __init__(self, aws: Aws, url: str) -> None:
        self._aws = aws
        self._url = url
        self._group = asyncio.TaskGroup()
        self._ears: dict[Ear, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(None, None, None)

    @contextmanager
    def heard(self, cluster: str) -> Iterator[Ear]:
        """The tasks of that cluster, for as long as the block lasts."""
        ear: Ear = asyncio.Queue()
        self._ears[ear] = cluster
        if self._task is None or self._task.done():
            self._task = self._group.create_task(self._listen())
        try:
            yield ear
        finally:
            del self._ears[ear]
            if not self._ears and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _listen(self) -> None:
        try:
            while True:
                await self._receive()
        except SourceError as error:
            self._task = None
            for ear in self._ears:
                ear.put_nowait(error)

    async def _receive(self) -> None:
        answer = await self._aws.call(
            "sqs",
            "receive_message",
            QueueUrl=self._url,
            WaitTimeSeconds=LONGEST_WAIT_SECONDS,
            MaxNumberOfMessages=_MOST,
        )
        messages = answer.get("Messages") or []
        for message in messages:
            self._tell(message)
        if messages:
            # What is not deleted is said once more, and is no news then.
            entries = [{"Id": str(number), "ReceiptHandle": _handle(each)} for number, each in enumerate(messages)]
            await self._aws.call("sqs", "delete_message_batch", QueueUrl=self._url, Entries=entries)

    def _tell(self, message: Mapping[str, Any]) -> None:
        try:
            heard = records.event(message.get("Body", ""))
        except Malformed:
            for ear in self._ears:
                ear.put_nowait(Unread())
            return
        if heard is not None and heard[1] is not None:
            for ear, cluster in self._ears.items():
                if cluster == heard[0]:
                    ear.put_nowait(heard[1])


def _handle(message: Mapping[str, Any]) -> str:
    handle = message.get("ReceiptHandle")
    if not isinstance(handle, str):
        raise Unavailable("SQS's answer to ReceiveMessage makes no sense: a message without a receipt")
    return handle
