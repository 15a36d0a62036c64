"""Both ends of the stream, real, with real sources, on loopback."""

from __future__ import annotations

import asyncio
import json
import pathlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
import websockets
from aiohttp import web

from discovery.address import Bound, Failed, Known, Neg, bound
from discovery.consul.config import ConsulConfig
from discovery.files.config import FilesConfig
from discovery.observatory import SourceEntry
from discovery.observing import Settings
from discovery.path import Path
from discovery.remote.dialling import Pace
from discovery.remote.frames import Hello
from discovery.remote.offers import offered
from discovery.settings import SourceConfig
from mesh.control.stream import REPLACED, Limits
from scripts import consul
from scripts.running import eventually
from tests.certificates import Authority
from tests.discovery.observation import up
from tests.fakes.memory import Platform
from tests.mesh.control.ends import QUICK, Agent, Control, Kept, Wire, agent, control

USERS, CARTS = "/#/files/users", "/#/files/carts"
FAKE = Path.parse("/#/fake")


@asynccontextmanager
async def opened(config: SourceConfig) -> AsyncIterator[SourceEntry]:
    settings = Settings(resync=config.resync, confirm_after=config.confirm_after, damping=config.damping)
    async with config.open() as source:
        yield SourceEntry(config.root, config.kind, config.name_segments, source, settings, config.fewest_segments)


@asynccontextmanager
async def files(place: pathlib.Path) -> AsyncIterator[SourceEntry]:
    async with opened(FilesConfig(folder=place)) as entry:
        yield entry


def write(place: pathlib.Path, name: str, *numbers: int) -> None:
    fresh = place / f".{name}"
    fresh.write_text("".join(f"10.0.0.{number} 80\n" for number in numbers))
    fresh.rename(place / name)


def addresses(it: Agent, name: str = USERS) -> list[str] | None:
    state = it.state(name)
    return [each.address for each in state.addr.endpoints] if isinstance(state, Known) and state.addr != Neg() else None


def memory(platform: Platform) -> SourceEntry:
    return SourceEntry(FAKE, "fake", 1, platform, Settings(resync=0, confirm_after=0, damping=0))


async def test_an_agent_is_told_the_table_the_sources_and_what_it_wants_and_every_change(
    tmp_path: pathlib.Path,
) -> None:
    write(tmp_path, "users", 1)
    async with files(tmp_path) as entry, control([entry]) as it:
        it.tables.put("/svc => /#/files")
        async with agent(it.url) as host:
            host.want(USERS)
            await host.bell.until(lambda: host.tables and host.offers)
            assert host.offers == [offered([entry])]
            known = await host.knows(USERS)
            assert (addresses(host), known.held) == (["10.0.0.1"], None)
            write(tmp_path, "users", 1, 2)
            await host.bell.until(lambda: addresses(host) == ["10.0.0.1", "10.0.0.2"])
            it.tables.put("/svc => /#/other")
            await host.bell.until(lambda: host.tables[-1].version == 2)
            assert [table.dtab for table in host.tables] == ["/svc => /#/files", "/svc => /#/other"]
            assert host.link.state.replica == "control-1"
        await it.bell.until(lambda: len(it.streams) == 0)
        assert len(it.hub) == 0


async def test_a_real_consul_is_observed_for_the_fleet_and_what_it_can_not_say_is_held_everywhere() -> None:
    if consul.find() is None:
        pytest.skip("no Consul: python -m scripts.consul --fetch")
    name = "/#/consul/dc1/web"
    async with consul.agent() as running, opened(ConsulConfig(address=running.url)) as entry, control([entry]) as it:  # noqa: SIM117
        async with agent(it.url) as one, agent(it.url, name="host8") as two, aiohttp.ClientSession() as session:
            for host in (one, two):
                host.want(name)
                await host.knows(name)
            service = {"ID": "web", "Name": "web", "Address": "10.0.0.1", "Port": 80}
            async with session.put(f"{running.url}/v1/agent/service/register", json=service) as answer:
                answer.raise_for_status()
            for host in (one, two):
                await host.bell.until(lambda host=host: addresses(host, name) == ["10.0.0.1"])
                state = host.state(name)
                assert isinstance(state, Known)
                assert isinstance(state.addr, type(up(1)))
                assert state.addr.endpoints[0].origin.startswith("web on ")
            await running.kill()
            for host in (one, two):
                held = await host.knows(name, held=True)
                assert held.held
                assert "control plane" not in held.held
                assert addresses(host, name) == ["10.0.0.1"]


# The link


async def test_a_cut_link_is_held_with_the_reason_and_fresh_when_it_is_back(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "users", 1)
    async with files(tmp_path) as entry, control([entry]) as it:
        wire = Wire(it.port)
        async with wire.laid() as url, agent(url) as host:
            host.want(USERS)
            await host.knows(USERS)
            wire.cut()
            held = await host.knows(USERS, held=True)
            assert held.held is not None
            assert held.held.startswith(f"the control plane can't be reached: {url}: ")
            assert not host.link.state.connected
            host.want(CARTS)
            await host.bell.until(lambda: isinstance(host.state(CARTS), Failed))
            assert "no answer within 2 s: the control plane can't be reached" in str(host.state(CARTS))
            write(tmp_path, "users", 1, 2)
            wire.mend()
            fresh = await host.knows(USERS)
            assert fresh.confirmed_at > held.confirmed_at
            await host.bell.until(lambda: addresses(host) == ["10.0.0.1", "10.0.0.2"])
            await host.knows(CARTS)
            assert host.link.state.connected


async def test_a_short_interruption_holds_nothing_and_same_is_all_that_is_said() -> None:
    platform = Platform()
    platform.truth[Path(("users",))] = up(*range(250))
    async with control([memory(platform)]) as it:
        wire = Wire(it.port)
        async with wire.laid() as url, agent(url, pace=Pace(grace=60, backoff=QUICK.backoff)) as host:
            host.want("/#/fake/users")
            known = await host.knows("/#/fake/users")
            before, changes = wire.carried, len(host.changes)
            assert before > 9_000
            wire.cut()
            await it.bell.until(lambda: it.heard.of("left"))
            wire.mend()
            await it.bell.until(lambda: len(it.heard.of("joined")) == 2)
            await younger(host, "/#/fake/users", known)
            assert wire.carried - before < 2_000
            assert len(host.changes) == changes


@pytest.mark.parametrize("side", ["agent", "control plane"])
async def test_a_half_open_stream_is_found_by_the_heartbeat(side: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path, "users", 1)
    slow, quick = 3600.0, 0.2
    pace = Pace(connect=0.5, heartbeat=quick if side == "agent" else slow, grace=0.05, backoff=QUICK.backoff)
    limits = Limits(heartbeat=slow if side == "agent" else quick)
    async with files(tmp_path) as entry, control([entry], limits=limits) as it:
        wire = Wire(it.port)
        async with wire.laid() as url, agent(url, pace=pace) as host:
            host.want(USERS)
            await host.knows(USERS)
            wire.swallows = True
            if side == "agent":
                held = await host.knows(USERS, held=True)
                assert "PONG" in str(held.held)
                wire.mend()
                await host.knows(USERS)
            else:
                await it.bell.until(lambda: it.heard.of("left"))
                assert len(it.hub) == 0


async def younger(host: Agent, name: str, than: Known) -> None:
    """When it has been confirmed once more. That rings nothing."""

    def is_younger() -> bool:
        state = host.state(name)
        return isinstance(state, Known) and state.held is None and state.confirmed_at > than.confirmed_at

    await eventually(is_younger, 20, f"{name} grows older")


async def test_while_the_stream_lives_what_is_known_grows_younger_without_a_change(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "users", 1)
    async with files(tmp_path) as entry, control([entry]) as it, agent(it.url, pace=Pace(heartbeat=0.1)) as host:
        host.want(USERS)
        known = await host.knows(USERS)
        changes = len(host.changes)
        await younger(host, USERS, known)
        assert len(host.changes) == changes


async def test_an_agent_goes_to_another_replica_when_its_own_goes_away_and_is_sent_nothing_again() -> None:
    platform = Platform()
    platform.truth[Path(("users",))] = up(*range(250))
    tables = Kept()
    tables.put("/svc => /#/fake")
    entry = memory(platform)
    async with control([entry], tables=tables, replica="b") as second:
        wire = Wire(second.port)
        async with control([entry], tables=tables, replica="a") as first, wire.laid() as url:
            wire.is_cut = True
            async with agent(first.url, url) as host:
                host.want("/#/fake/users")
                await host.knows("/#/fake/users")
                assert host.link.state.replica == "a"
                wire.mend()
                await first.streams.close()
                await host.bell.until(lambda: host.link.state.replica == "b")
                await second.bell.until(lambda: len(second.hub) == 1)
                await host.knows("/#/fake/users")
                assert wire.carried < 2_500
                assert len(host.tables) == 1
                assert len(host.offers) == 1


# Reports


async def test_the_status_is_sent_after_hello_then_coalesced_the_latest_winning(tmp_path: pathlib.Path) -> None:
    async with files(tmp_path) as entry, control([entry]) as it, agent(it.url, pace=Pace(status=0.2)) as host:
        host.link.report({"ready": False, "names": ["users"]})
        await it.bell.until(lambda: it.heard.of("reported"))
        for number in range(100):
            host.link.report({"ready": True, "table": number})
        await it.bell.until(lambda: len(it.heard.of("reported")) == 2)
        assert it.heard.of("reported") == [{"ready": False, "names": ["users"]}, {"ready": True, "table": 99}]
        await it.streams.close()
    async with control([]) as other, agent(other.url) as again:
        again.link.report({"ready": True})
        await other.bell.until(lambda: other.heard.of("reported"))


async def test_what_was_reported_is_reported_whole_to_the_next_replica(tmp_path: pathlib.Path) -> None:
    async with files(tmp_path) as entry, control([entry]) as it:
        wire = Wire(it.port)
        async with wire.laid() as url, agent(url) as host:
            host.link.report({"ready": True, "names": ["users"]})
            await it.bell.until(lambda: it.heard.of("reported"))
            host.link.report({"ready": False})
            await it.bell.until(lambda: len(it.heard.of("reported")) == 2)
            wire.cut()
            await it.bell.until(lambda: it.heard.of("left"))
            wire.mend()
            await it.bell.until(lambda: len(it.heard.of("reported")) == 3)
            assert it.heard.of("reported")[-1] == {"ready": False, "names": ["users"]}


# Who may come


async def test_a_token_is_sent_and_an_agent_that_is_not_admitted_is_told_why() -> None:
    def admits(request: web.Request, hello: Hello) -> str | None:
        return None if request.headers.get("authorization") == f"Bearer of-{hello.agent}" else "the token is not yours"

    async with control([], admits=admits) as it, agent(it.url, token=lambda: "of-host7") as host:
        await host.bell.until(lambda: host.offers)
        async with agent(it.url, name="host8", token=lambda: "of-host7") as other:
            await other.bell.until(lambda: "it refuses us: the token is not yours" in str(other.link.state.reason))
            assert "of-host7" not in str(other.link.state)


def _server(authority: Authority, place: pathlib.Path) -> ssl.SSLContext:
    """It lets in whom the authority has signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.write(place))
    context.load_cert_chain(*authority.server("127.0.0.1").write(place, "control"))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_both_ends_know_each_other_by_their_certificates(tmp_path: pathlib.Path) -> None:
    def admits(request: web.Request, hello: Hello) -> str | None:
        assert request.transport is not None
        names = [name for kind, name in request.transport.get_extra_info("peercert")["subjectAltName"] if kind == "DNS"]
        return None if names == [hello.agent] else f"the certificate is that of {names}"

    authority = Authority()
    client = authority.trusting()
    client.load_cert_chain(*authority.server("host7").write(tmp_path, "agent"))
    async with control([], admits=admits, tls=_server(authority, tmp_path)) as it:
        async with agent(it.url, tls=client) as host:
            await host.bell.until(lambda: host.offers)
        async with agent(it.url, tls=client, name="host8") as other:
            await other.bell.until(lambda: "the certificate is that of ['host7']" in str(other.link.state.reason))
        async with agent(it.url, tls=authority.trusting(), name="host9") as bare:
            await bare.bell.until(lambda: it.url in str(bare.link.state.reason))
        async with agent(it.url, tls=Authority("another one").trusting()) as wary:
            await wary.bell.until(lambda: "certificate verify failed" in str(wary.link.state.reason))
        assert [hello.agent for hello in it.heard.of("joined") if isinstance(hello, Hello)] == ["host7"]


async def test_the_second_stream_of_an_agent_replaces_the_first(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "users", 1)
    async with files(tmp_path) as entry, control([entry]) as it, aiohttp.ClientSession() as session:  # noqa: SIM117
        async with session.ws_connect(it.url) as first:
            await first.send_str(json.dumps({"type": "hello", "protocol": 1, "agent": "host7"}))
            await first.send_str(json.dumps({"type": "want", "names": {USERS: None}}))
            await it.bell.until(lambda: len(it.streams) == 1)
            async with agent(it.url) as host:
                host.want(USERS)
                await host.knows(USERS)
                while (message := await first.receive()).type != aiohttp.WSMsgType.CLOSE:
                    pass
                assert (message.data, message.extra[:22]) == (REPLACED, "another stream of host")
                write(tmp_path, "users", 2)
                await host.bell.until(lambda: addresses(host) == ["10.0.0.2"])
                assert (len(it.streams), it.heard.of("left")) == (1, [])


async def greeted(it: Control, session: aiohttp.ClientSession, *said: str) -> tuple[list[str], int | None, str]:
    """What is answered until the stream is closed, the code, and the reason."""
    async with session.ws_connect(it.url) as stream:
        for each in said:
            await stream.send_str(each)
        answers = []
        while (message := await stream.receive()).type is aiohttp.WSMsgType.TEXT:
            answers.append(str(message.data))
        return answers, stream.close_code, str(message.extra)


HELLO = '{"type":"hello","protocol":1,"agent":"host9"}'


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["no frame"], "no JSON"),
        (['{"type":"want","names":{}}'], "hello comes first"),
        (['{"type":"hello","protocol":1}'], "agent: a text expected"),
        ([HELLO, '{"type":"want","names":[]}'], "names: an object expected"),
        ([HELLO, '{"type":"want","names":{"users":null}}'], "names: '/' expected"),
        ([HELLO, '{"type":"want","names":{"/#/a":null,"/#/b":null,"/#/c":null}}'], "it wants more than 2 names"),
        ([], "no hello within 0.2 s"),
    ],
)
async def test_what_can_not_be_read_or_is_too_much_closes_the_stream_with_the_reason(
    said: list[str], reason: str
) -> None:
    limits = Limits(hello=0.2 if not said else 5.0)
    async with control([], limits=limits, most_names=2) as it, aiohttp.ClientSession() as session:
        _, code, told = await greeted(it, session, *said)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert reason in told
        await it.bell.until(lambda: len(it.streams) == 0)
        assert len(it.hub) == 0


async def test_a_frame_that_is_too_long_closes_the_stream() -> None:
    async with control([], limits=Limits(frame_bytes=1000)) as it, aiohttp.ClientSession() as session:
        _, code, _ = await greeted(it, session, HELLO, json.dumps({"type": "status", "text": "x" * 2000}))
        assert code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ('{"type":"hello","protocol":2}', "protocol 2 is not spoken here, 1 is"),
        ('{"type":"hello","protocol":1,"agent":"a","namespace":"a b"}', "'a b' can't be the name of a namespace"),
        (HELLO, "1 agents are connected to this replica, which is its limit"),
    ],
)
async def test_who_can_not_be_served_is_refused(hello: str, reason: str) -> None:
    async with control([], limits=Limits(agents=1)) as it, aiohttp.ClientSession() as session, agent(it.url) as host:
        await host.bell.until(lambda: host.offers)
        [refused], code, _ = await greeted(it, session, hello)
        assert json.loads(refused)["type"] == "refused"
        assert reason in json.loads(refused)["reason"]
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_replica_that_is_going_away_refuses_who_comes() -> None:
    async with control([]) as it, aiohttp.ClientSession() as session:
        await it.streams.close()
        [refused], _, _ = await greeted(it, session, HELLO)
        assert json.loads(refused)["reason"] == "the replica is going away"


# Slow agents


@asynccontextmanager
async def slow_agent(it: Control) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """It reads nothing unless the test does, and the kernel keeps little for it."""

    def small(info: object) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return made

    connector = aiohttp.TCPConnector(socket_factory=small)
    async with aiohttp.ClientSession(connector=connector) as session, session.ws_connect(it.url) as stream:
        await stream.send_str(json.dumps({"type": "hello", "protocol": 1, "agent": "slow"}))
        await stream.send_str(json.dumps({"type": "want", "names": {"/#/fake/users": None}}))
        yield stream


def many(number: int, bytes_each: int) -> Bound:
    """50 endpoints, other ones for each number below 200."""
    metadata = (("text", "x" * bytes_each),)
    return bound(replace(each, metadata=metadata) for each in up(*range(number % 200, number % 200 + 50)).endpoints)


async def test_of_a_burst_of_1000_changes_a_slow_agent_gets_few_frames_and_the_last_and_holds_nobody_up() -> None:
    """The other agent gets every one of them, 50 MB, while the slow one doesn't read."""
    platform, name = Platform(), "/#/fake/users"
    limits = Limits(drain=3600, heartbeat=3600)
    async with control([memory(platform)], limits=limits) as it, slow_agent(it) as slow, agent(it.url) as host:
        host.want(name)
        await host.knows(name)
        for number in range(1_000):
            platform.state(Path(("users",)), many(number, 1_000))
            last = [each.address for each in many(number, 0).endpoints]
            await host.bell.until(lambda last=last: addresses(host, name) == last)
        frames = []
        while not frames or [row["address"] for row in frames[-1]["state"]["known"] or []] != last:
            frame = json.loads((await slow.receive()).data)
            if frame["type"] == "observation":
                frames.append(frame)
        print(f"{len(frames)} frames for 1,000 changes")
        assert len(frames) < 250


async def test_an_agent_that_reads_nothing_for_long_is_closed_though_it_lives() -> None:
    platform = Platform()
    async with control([memory(platform)], limits=Limits(drain=0.3, heartbeat=3600)) as it, slow_agent(it):
        await it.bell.until(lambda: len(it.streams) == 1)
        number = 0
        while not it.heard.of("left"):
            number += 1
            platform.state(Path(("users",)), many(number, 10_000))
            await asyncio.sleep(0.002)
        assert len(it.hub) == 0


# The judge


async def test_another_websocket_implementation_understands_us(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "users", 1)
    async with files(tmp_path) as entry, control([entry]) as it:
        it.tables.put("/svc => /#/files")
        async with websockets.connect(it.url.replace("http", "ws"), compression="deflate") as stream:
            await stream.send(HELLO)
            welcome = json.loads(await stream.recv())
            assert welcome == {"type": "welcome", "protocol": 1, "control": "0.1.0", "replica": "control-1"}
            told = {json.loads(text)["type"] for text in (await stream.recv(), await stream.recv())}
            assert told == {"sources", "table"}
            await stream.send('{"type":"mood","of":"a newer agent"}')
            await stream.send(json.dumps({"type": "want", "names": {USERS: None}, "by": "a newer agent"}))
            observation = json.loads(await stream.recv())
            endpoint = {"address": "10.0.0.1", "port": 80}
            [row] = observation["state"]["known"]
            assert {key: row[key] for key in endpoint} == endpoint
            await stream.send(json.dumps({"type": "want", "names": {USERS: observation["version"]}}))
            assert json.loads(await stream.recv()) == {"type": "same", "names": [USERS]}
            await (await stream.ping())
            await it.streams.close()
            with pytest.raises(websockets.ConnectionClosedOK) as closed:
                await stream.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the replica is going away")
