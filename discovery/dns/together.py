"""Several questions at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from discovery.source import SourceError

T = TypeVar("T")


async def together(coroutines: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Their results, in order. The first `SourceError` is raised as it is, not in a group, and ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in coroutines]
    except ExceptionGroup as failures:
        told, bugs = failures.split(SourceError)
        if bugs is not None or told is None:
            raise
        raise told.exceptions[0] from None
    return [task.result() for task in tasks]
