import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest
import requests

from discovery.docker.connections import Adapter, Live
from discovery.docker.threads import Threads
from tests.discovery.contract import eventually


@pytest.fixture
async def silent(tmp_path: FilePath) -> AsyncIterator[str]:
    """The path of a Unix socket that takes connections and says nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        yield str(tmp_path / "s")


def session(live: Live, path: str | None, timeout: float) -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", Adapter(live, path, timeout))
    return made


async def test_who_waits_for_an_answer_is_cut_off(silent: str) -> None:
    live, threads = Live(), Threads()
    client = session(live, silent, 60)

    async def ask() -> None:
        with pytest.raises(requests.ConnectionError):
            await threads.run(lambda: client.get("http://docker/x"))

    async with asyncio.TaskGroup() as group:
        group.create_task(ask())
        await eventually(lambda: live.count == 1, "a connection")
        live.cut()
    assert await threads.ended(5)
    live.close()
    client.close()


async def test_there_are_no_more_connections_after_the_cut(silent: str) -> None:
    live = Live()
    live.cut()
    client = session(live, silent, 60)
    with pytest.raises(OSError, match="have been cut"):
        await Threads().run(lambda: client.get("http://docker/x"))
    client.close()


async def test_over_tcp_a_silent_host_is_noticed() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        live = Live()
        client = session(live, None, 60)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(requests.Timeout):
            await Threads().run(lambda: client.get(url, timeout=0.01))
        accepted, _ = listener.accept()
        accepted.close()
        client.close()


async def test_a_socket_that_is_not_there_is_the_systems_own_error(tmp_path: FilePath) -> None:
    client = session(Live(), str(tmp_path / "none"), 1)
    with pytest.raises(requests.ConnectionError, match="No such file"):
        await Threads().run(lambda: client.get("http://docker/x"))
    client.close()
