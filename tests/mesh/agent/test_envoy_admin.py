"""What Envoy's admin interface may answer, also while Envoy is ending. A real one is asked in the end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.agent import envoy_admin
from tests.answering import answering

TROUBLE = (OSError, TimeoutError, ValueError, EOFError)
"""What those who ask are ready for."""


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 3_000_000], ids=["empty", "short", "long"])
async def test_an_answer_comes_whole(body: bytes) -> None:
    async with answering() as envoy:
        envoy.say(body)
        assert await envoy_admin.get(envoy.socket, "/stats") == body
        assert envoy.asked[0].startswith(b"GET /stats HTTP/1.1\r\n")


async def test_chunks_are_put_together() -> None:
    async with answering() as envoy:
        envoy.say_in_chunks(b"one\r\n", b"two" * 100_000, b"0\r\n\r\n")
        assert await envoy_admin.get(envoy.socket, "/stats") == b"one\r\n" + b"two" * 100_000 + b"0\r\n\r\n"


async def test_a_question_that_changes_something_is_a_post() -> None:
    async with answering() as envoy:
        envoy.say(b"OK")
        await envoy_admin.post(envoy.socket, "/drain_listeners?graceful")
        assert envoy.asked[0].startswith(b"POST /drain_listeners?graceful HTTP/1.1\r\n")


@pytest.mark.parametrize("status", [400, 404, 503])
async def test_a_refusal_is_an_error_that_tells_the_question(status: int) -> None:
    async with answering() as envoy:
        envoy.say(b"no", status)
        with pytest.raises(OSError, match=f"{status}.*GET /stats"):
            await envoy_admin.get(envoy.socket, "/stats")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP", id="half a word"),
        pytest.param(b"HTTP/1.1 ", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", id="no chunk size"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhalf a chunk", id="half a chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="no last chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\nhalf a body", id="half a body"),
    ],
)
async def test_an_answer_that_breaks_off_is_an_error_its_askers_know(answer: bytes) -> None:
    """Envoy was killed or is replaced. An unknown error would end the brain; half an answer would be believed."""
    async with answering() as envoy:
        envoy.answer = answer
        with pytest.raises(TROUBLE):
            await envoy_admin.get(envoy.socket, "/stats")


async def test_nobody_listening_is_an_error_its_askers_know(tmp_path: Path) -> None:
    with pytest.raises(TROUBLE):
        await envoy_admin.get(tmp_path / "nothing.sock", "/stats")


async def test_connections_of_callers_are_counted_without_those_of_the_admin_interface() -> None:
    async with answering() as envoy:
        envoy.say(
            b"listener.127.0.0.1_4140.downstream_cx_active: 3\n"
            b"listener.[__1]_4141.downstream_cx_active: 4\n"
            b"listener.127.0.0.1_4140.worker_0.downstream_cx_active: 3\n"
            b"listener.admin.downstream_cx_active: 1\n"
            b"listener.admin.main_thread.downstream_cx_active: 1\n"
        )
        assert await envoy_admin.downstream_connections(envoy.socket) == 7
