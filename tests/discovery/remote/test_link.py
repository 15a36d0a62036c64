"""The agent's end against control planes that another WebSocket implementation serves: newer, older, and wrong ones.

Against our own control plane: `tests/mesh/control/test_stream.py`.
"""

from __future__ import annotations

import asyncio
import http
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from websockets.asyncio.server import Request, Response, ServerConnection, serve

from discovery.address import Known
from discovery.path import Path
from discovery.remote.dialling import Dialling, Pace
from discovery.remote.frames import Hello, Table
from discovery.remote.link import Link
from discovery.source import Misconfigured
from scripts.running import eventually
from tests.discovery.observation import up
from tests.mesh.control.ends import QUICK, Agent, agent

USERS = "/#/consul/dc1/users"
WELCOME = '{"type":"welcome","protocol":1}'
SOURCES = '{"type":"sources","hash":"h","sources":[{"prefix":"/#/consul","kind":"consul","segments":2}]}'
STATE = '{"known":[{"address":"10.0.0.1","port":80}],"since":1,"confirmed_at":2}'
OBSERVATION = f'{{"type":"observation","name":"{USERS}","version":"v1","state":{STATE}}}'

Serve = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def replica(serving: Serve, refuse: http.HTTPStatus | None = None) -> AsyncIterator[str]:
    def respond(connection: ServerConnection, _request: Request) -> Response | None:
        return None if refuse is None else connection.respond(refuse, "no\n")

    async with serve(serving, "127.0.0.1", 0, process_request=respond) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/agent"


def saying(*texts: str) -> Serve:
    async def serving(stream: ServerConnection) -> None:
        await stream.recv()
        for text in texts:
            await stream.send(text)
        async for _ in stream:
            pass

    return serving


async def until_known(host: Agent) -> None:
    host.want(USERS)
    assert (await host.knows(USERS)).addr == up(1)


async def test_what_a_newer_control_plane_adds_is_borne() -> None:
    newer = [
        '{"type":"welcome","protocol":1,"control":"9.9","motto":"onward"}',
        '{"type":"weather","sun":true}',
        SOURCES.replace('"hash"', '"more":[1],"hash"'),
        '{"type":"table","namespace":"default","version":3,"dtab":"/a => /b","policies":"","signed":{"by":"x"}}',
        OBSERVATION.replace('"port"', '"health":"sleepy","colour":"red","port"'),
        '{"type":"same","names":[],"digest":"x"}',
    ]
    async with replica(saying(*newer)) as url, agent(url) as host:
        await until_known(host)
        assert (host.tables[-1].version, host.link.state.connected) == (3, True)


async def test_an_older_control_plane_that_says_less_is_understood() -> None:
    older = [WELCOME, SOURCES, '{"type":"table","namespace":"default","version":0}', OBSERVATION]
    async with replica(saying(*older)) as url, agent(url) as host:
        await until_known(host)
        assert host.tables[-1].dtab is None


async def test_it_greets_asks_with_what_it_has_and_releases() -> None:
    heard: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    async def serving(stream: ServerConnection) -> None:
        await stream.send(WELCOME)
        await stream.send(SOURCES)
        async for text in stream:
            frame = json.loads(text)
            heard.put_nowait(frame)
            if frame["type"] == "want":
                await stream.send(OBSERVATION)
            elif frame["type"] == "release":
                await stream.close()

    async with replica(serving) as url, agent(url) as host:
        first = await heard.get()
        assert first == {
            "type": "hello",
            "protocol": 1,
            "agent": "host7",
            "namespace": "default",
            "version": "0.1.0",
            "table": None,
            "sources": None,
            "table_at": None,
        }
        await host.bell.until(lambda: host.offers)
        await until_known(host)
        assert await heard.get() == {"type": "want", "names": {USERS: None}}
        host.observatory.want(Path.parse("/#/consul/dc1/carts"))
        assert await heard.get() == {"type": "want", "names": {"/#/consul/dc1/carts": None}}
        host.observatory.release(Path.parse("/#/consul/dc1/carts"), linger=False)
        assert await heard.get() == {"type": "release", "names": ["/#/consul/dc1/carts"]}
        again = await heard.get()
        assert (again["type"], again["sources"]) == ("hello", "h")
        assert await heard.get() == {"type": "want", "names": {USERS: "v1"}}


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["no frame"], "it sends what can't be read: no JSON"),
        ([WELCOME, OBSERVATION.replace("80", '"80"')], r"it sends what can't be read: state.known[0].port: a whole"),
        ([WELCOME, '{"type":"same","names":["users"]}'], "it sends what can't be read: names: '/' expected"),
        (['{"type":"welcome","protocol":2}'], "it doesn't speak protocol 1"),
        ([SOURCES], "it doesn't speak protocol 1"),
        (['{"type":"refused","reason":"go away"}'], "it refuses us: go away"),
        ([WELCOME, '{"type":"refused","reason":"go away"}'], "it refuses us: go away"),
    ],
)
async def test_what_is_wrong_ends_the_stream_and_is_told_once(
    texts: list[str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = 0
    enough = asyncio.Event()

    async def serving(stream: ServerConnection) -> None:
        nonlocal served
        served += 1
        if served == 4:
            enough.set()
        await saying(*texts)(stream)

    async with replica(serving) as url, agent(url) as host:
        async with asyncio.timeout(20):
            await enough.wait()
        await host.bell.until(lambda: not host.link.state.connected)
        assert f"{url}: {reason}" in str(host.link.state.reason)
    told = [each for each in caplog.records if each.levelname == "WARNING"]
    assert [reason in str(vars(each)["fields"]["reason"]) for each in told] == [True]


async def test_a_bad_frame_takes_nothing_away_that_is_known() -> None:
    async def serving(stream: ServerConnection) -> None:
        await saying(WELCOME, SOURCES, OBSERVATION, "no frame")(stream)

    async with replica(serving) as url, agent(url) as host:
        host.want(USERS)
        await host.bell.until(lambda: isinstance(host.state(USERS), Known))
        for _, state in host.changes:
            assert not isinstance(state, Known) or state.addr == up(1)
        held = await host.knows(USERS, held=True)
        assert held.addr == up(1)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (http.HTTPStatus.UNAUTHORIZED, "it refuses our token"),
        (http.HTTPStatus.NOT_FOUND, "it has no stream for agents there; is it a control plane?"),
        (http.HTTPStatus.SERVICE_UNAVAILABLE, "it answers 503"),
    ],
)
async def test_a_handshake_that_is_refused_says_why(status: http.HTTPStatus, reason: str) -> None:
    async with replica(saying(), status) as url, agent(url) as host:
        await host.bell.until(lambda: str(host.link.state.reason).count(reason))


async def test_a_replica_that_says_nothing_is_left_after_a_while_for_another() -> None:
    async def silent(stream: ServerConnection) -> None:
        async for _ in stream:
            pass

    async with replica(silent) as mute, replica(saying(WELCOME, SOURCES, OBSERVATION)) as url:
        pace = Pace(connect=0.2, backoff=QUICK.backoff)
        async with agent(mute, url, pace=pace) as host:
            await until_known(host)
            assert host.link.state.url == url


@pytest.mark.parametrize("error", [OSError("token: no such file"), Misconfigured("token: it is empty")])
async def test_without_a_token_it_says_so_and_tries_again(error: Exception) -> None:
    tokens = iter([error, error])

    def token() -> str | None:
        if (raised := next(tokens, None)) is not None:
            raise raised
        return "secret"

    async with replica(saying(WELCOME, SOURCES, OBSERVATION)) as url, agent(url, token=token) as host:
        await host.bell.until(lambda: host.offers)
        assert "secret" not in repr(host.link.state)


async def test_a_callback_that_fails_is_a_bug_that_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    failed, heard = asyncio.Event(), asyncio.Event()

    def fail(told: object) -> None:
        if isinstance(told, Table):
            failed.set()
        raise LookupError("mine")

    async def serving(stream: ServerConnection) -> None:
        await stream.send(WELCOME)
        await stream.send(SOURCES)
        await stream.send('{"type":"table","namespace":"default","version":0}')
        await stream.recv()
        await stream.recv()
        heard.set()

    async with replica(serving) as url, aiohttp.ClientSession() as session:
        link = Link(
            [url], Dialling(session), hello=lambda: Hello("a"), on_table=fail, on_sources=fail, rng=random.Random(1)
        )
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(link.run())
            await failed.wait()
            link.report({"ready": True})
            await heard.wait()
            running.cancel()
    assert caplog.text.count("LookupError: mine") == 2


async def test_a_report_that_is_no_json_is_a_bug_that_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    heard = asyncio.Event()

    async def serving(stream: ServerConnection) -> None:
        await stream.send(WELCOME)
        async for text in stream:
            if json.loads(text) == {"type": "status", "ready": True}:
                heard.set()

    async with replica(serving) as url, agent(url) as host:
        host.link.report({"rate": float("nan")})
        await host.bell.until(lambda: host.link.state.connected)
        await eventually(lambda: "can't be written as JSON" in caplog.text, 20, "it was not told")
        host.link.report({"ready": True})
        await heard.wait()
        assert host.link.state.connected


async def test_a_url_is_shown_without_its_password() -> None:
    async with replica(saying(WELCOME)) as url, agent(url.replace("//", "//ann:secret@")) as host:
        await host.bell.until(lambda: host.link.state.connected)
        assert host.link.state.url == url


async def test_a_link_needs_a_url() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="URL"):
            Link(
                [], Dialling(session), hello=lambda: Hello("a"), on_table=print, on_sources=print, rng=random.Random(1)
            )
