"""Whatever one agent says, on its stream, the control plane goes on for the others and has no bug to tell of."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import aiohttp
import pytest
from hypothesis import strategies as st

from tests.control import PATIENCE, Served, Stream, control, token
from tests.fuzzing import Rounds, texts_of
from tests.recording import Frame

INPUTS = 150
"""Streams, of some frames each."""
HELLO: Frame = {"type": "hello", "protocol": 1, "agent": "host7", "version": "0.1.0"}
SAID = st.tuples(st.integers(0, 3), st.lists(texts_of("agent"), min_size=1, max_size=5))
"""Of four times one begins with a hello of its own."""


async def say(served: Served, given: tuple[int, list[str]]) -> None:
    """Until it is closed, or all has been taken: then a last hello is answered, or what is wrong with it."""
    first, texts = given
    headers = {"Authorization": f"Bearer {token('host7')}"}
    async with served.session.ws_connect("/v1/agent", headers=headers, timeout=aiohttp.ClientWSTimeout(1.0)) as stream:
        try:
            if first:
                await stream.send_json(HELLO)
            for text in texts:
                await stream.send_str(text)
            await stream.ping(b"all")
        except (ConnectionError, aiohttp.ClientError):
            return  # It was closed already.


async def is_well(served: Served, other: Stream) -> None:
    """Another agent is answered, and so is who asks what the fleet does."""
    await other.send_json({"type": "want", "names": {"/#/files/users": None}})
    while True:
        answer = await other.receive_json(timeout=PATIENCE)
        if answer["type"] == "observation" and answer["name"] == "/#/files/users":
            break
    for path in ("/v1/agents", "/v1/namespaces/default/names", "/v1/health"):
        assert (await served.get(path)).status == 200, path
    said = await served.ask("POST", "/v1/namespaces/default/preview", json={"dtab": "/svc => /#/files/other"})
    assert said.status == 200, said.body


def fuzz_stream(rounds: Rounds) -> int:
    """One control plane for all of them: what one does to it the next would notice."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        served: Served = runner.run(stack.enter_async_context(control()))
        served.name("users", 1001)

        def one(given: tuple[int, list[str]]) -> None:
            runner.run(say(served, given))
            runner.run(is_well(served, other))

        try:
            runner.run(served.put("/svc => /#/files"))
            other: Stream = runner.run(stack.enter_async_context(served.agent("host9")))
            return rounds.of(SAID, one)
        finally:
            runner.run(stack.aclose())


def bugs(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.exc_info or each.levelno >= logging.ERROR]


def test_whatever_an_agent_says_the_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    assert fuzz_stream(Rounds(INPUTS)) >= INPUTS
    assert bugs(caplog) == []
