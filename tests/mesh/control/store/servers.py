"""Real servers that several tests share: started in a fixture of a module, though each test has a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def kept(opening: AbstractAsyncContextManager[T]) -> Iterator[T]:
    with asyncio.Runner() as runner:

        async def enter() -> T:
            return await opening.__aenter__()

        async def leave() -> None:
            await opening.__aexit__(None, None, None)

        opened = runner.run(enter())
        try:
            yield opened
        finally:
            runner.run(leave())
