"""Files that are wrong, half written or odd: the last good is kept, one line says what is wrong and where."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import yaml

from demo.calls import Load, load
from mesh.config.load import examine
from scripts.running import eventually, service
from tests.fakes.dns import fake_dns
from tests.host import PATIENCE, Host, host, running

TABLE = """
/svc          => /#/files ;
/svc/lopsided => 99999999999999999999999999 * /#/files/odd-weights & 0.0000000001 * /#/files/odd-weights ;
/svc/nothing  => 0 * /#/files/none & 0 * /#/files/none ;
/svc/portless => /$/inet/127.0.0.1/http ;
/svc/unknown  => /$/io.buoyant.unheard-of/x ;
/svc/circle   => /svc/circle | /svc/circle
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with running(TABLE) as started:
        asyncio.run(started.agent.until_ready())
        yield started
        asyncio.run(started.no_nacks())
        assert "Traceback" not in started.agent.log.read_text()


BAD = [
    pytest.param(b"127.0.0.1 http\n", ":1:11: port expected, found 'http'", id="port"),
    pytest.param(b"127.0.0.1 80\nnot a host!! 80\n", ":2:", id="second line"),
    pytest.param(b"127.0.0.1 80 * heavy\n", ":1:16:", id="weight"),
    pytest.param(b"127.0.0.1\n", "the line ends", id="no port"),
    pytest.param(b"127.0.0.1 80\n\xff\xfe 80\n", ":2:1: UTF-8 expected", id="not text"),
    pytest.param(b"127.0.0.1 80\n" * 50_000, "bytes", id="huge"),
    pytest.param(b"\x16\x03\x01" + os.urandom(2000), ":1:", id="binary"),
]


async def _held(started: Host, name: str) -> str:
    endpoints: Any = (await started.json(f"/explain?name={name}"))["endpoints"]
    return str(endpoints.get(f"/#/files/{name}", {}).get("held") or "")


@asynccontextmanager
async def served(started: Host, name: str) -> AsyncIterator[tuple[Load, int]]:
    """`name` is good and under load; it must not fail whatever is done to its file."""
    async with service(name) as port:
        started.put(name, port)
        await started.until(name, name)
        async with load(started.agent.url, name, callers=1) as seen:
            yield seen, port
        assert not seen.failed
        assert set(seen.answers) == {name}


@pytest.mark.parametrize(("data", "said"), BAD)
async def test_a_malformed_file_keeps_the_last_good_and_says_where_it_is_wrong(
    shared: Host, request: pytest.FixtureRequest, data: bytes, said: str
) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    async with served(shared, name) as (_, port):
        (shared.disco / f".{name}").write_bytes(data)
        (shared.disco / f".{name}").rename(shared.disco / name)

        async def held() -> bool:
            return bool(await _held(shared, name))

        await eventually(held, PATIENCE, "explain does not tell of the bad file")
        assert said in await _held(shared, name)
        sources = cast("list[dict[str, Any]]", (await shared.json("/status"))["sources"])
        assert sources[0]["state"] == "held"
        assert sources[0]["last_error"]
        assert (await shared.names())[name]["held"]
        await eventually(lambda: _told(shared, name), PATIENCE, "the log does not tell of the bad file")
        shared.put(name, port)

        async def good_again() -> bool:
            return not await _held(shared, name)

        await eventually(good_again, PATIENCE, "the corrected file is not read")
    (line,) = _told(shared, name)
    assert said in line
    assert str(shared.disco / name) in line


def _told(started: Host, name: str) -> list[str]:
    lines = started.agent.log.read_text().splitlines()
    return [line for line in lines if "WARNING" in line and f"name=/#/files/{name} " in line]


GOOD = [
    pytest.param("127.0.0.1 {port}\r\n", id="CRLF"),
    pytest.param("\ufeff127.0.0.1 {port}\n", id="byte order mark"),
    pytest.param("# comment\n\n   127.0.0.1\t{port}   # here\n", id="comments"),
    pytest.param("127.0.0.1 {port}", id="no end of line"),
    pytest.param("127.0.0.1 {port} * 0.0001\n127.0.0.1 {port} * 1e30\n", id="odd weights"),
    pytest.param("localhost {port}\n", id="host name"),
]


@pytest.mark.parametrize("text", GOOD)
async def test_an_odd_but_right_file_is_served(shared: Host, request: pytest.FixtureRequest, text: str) -> None:
    name = request.node.callspec.id.replace(" ", "-").lower()
    async with service(name) as port:
        shared.put(name, lines=text.format(port=port))
        assert (await shared.call(name)).body == name


async def test_twenty_thousand_endpoints_are_served(shared: Host) -> None:
    async with service("crowd", address="0.0.0.0") as port:
        numbers = range(20_000)
        shared.put("crowd", lines="".join(f"127.1.{n >> 8}.{n & 255} {port}\n" for n in numbers))
        assert (await shared.call("crowd")).body == "crowd"
        assert (await shared.names())["crowd"]["endpoints"] == 20_000
        shared.remove("crowd")


async def test_a_file_written_piece_by_piece_never_serves_a_half(shared: Host) -> None:
    async with service("slowly") as more, served(shared, "slowly") as (seen, port):
        for pieces in (("127.0.", "0.1 ", str(port)[:2], str(port)[2:]), ("\n", "127.0.0.1 ", f"{more}\n")):
            with (shared.disco / "slowly").open("a" if pieces[0] == "\n" else "w") as file:
                for piece in pieces:
                    file.write(piece)
                    file.flush()
                    count = seen.answers["slowly"]
                    await eventually(lambda: seen.answers["slowly"] > count + 10, PATIENCE, "the load stopped")  # noqa: B023

        async def both() -> bool:
            return (await shared.names())["slowly"]["endpoints"] == 2

        await eventually(both, PATIENCE, "what was written is not read")


async def test_each_of_several_bad_files_is_in_the_log_with_its_place(shared: Host) -> None:
    names = [f"several{number}" for number in range(5)]
    for name in names:
        shared.put(name, 1)
        await shared.call(name)
    for number, name in enumerate(names):
        shared.put(name, lines="# fine\n" * number + "127.0.0.1 http\n")

    def told() -> bool:
        text = shared.agent.log.read_text()
        return all(f"{shared.disco / name}:{number + 1}:11" in text for number, name in enumerate(names))

    await eventually(told, 4, f"not every file and line is told\n{shared.agent.tail()[-1500:]}")


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "loop of links"])
async def test_what_is_no_file_is_no_answer(shared: Host, kind: str) -> None:
    name = f"odd-{kind.replace(' ', '-')}"
    place = shared.disco / name
    match kind:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "dangling link":
            place.symlink_to("nowhere")
        case _:
            place.symlink_to(place)
    answer = await shared.call(name)
    assert answer.status in (404, 503)
    assert answer.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("portless", "a port is a number", id="inet without port"),
        pytest.param("unknown", "there is no namer", id="unknown utility"),
        pytest.param("circle", "can't bind /svc/circle", id="a circle that branches"),
    ],
)
async def test_a_table_that_leads_astray_says_so(shared: Host, name: str, said: str) -> None:
    answer = await shared.call(name)
    assert answer.status == 503
    assert said in answer.err
    assert "line " in answer.body


@pytest.mark.parametrize(
    "request_line",
    [
        pytest.param("OPTIONS * HTTP/1.1", id="options of everything"),
        pytest.param("CONNECT known:80 HTTP/1.1", id="connect"),
        pytest.param("GET /a b HTTP/1.1", id="blank"),
        pytest.param("\x16\x03\x01", id="TLS"),
    ],
)
async def test_every_refusal_of_envoy_itself_carries_a_reason(shared: Host, request_line: str) -> None:
    async with service("known") as port:
        shared.put("known", port)
        await shared.until("known", "known")
        reader, writer = await asyncio.open_connection("127.0.0.1", shared.agent.port)
        writer.write(f"{request_line}\r\nhost: known\r\nconnection: close\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
    assert 400 <= int(head.split()[1]) < 600, head
    assert "l5d-err: " in head
    assert "try again" not in head


async def test_a_port_that_is_none_is_answered_alike_before_and_after_the_name_is_in_use(shared: Host) -> None:
    async with service("ported") as port:
        shared.put("ported", port)
        before = (await shared.call("ported:x")).status
        await shared.until("ported", "ported")
        assert before == (await shared.call("ported:x")).status


@pytest.mark.parametrize("target", ["a call", "/explain?name=slow"])
async def test_rule_8_a_brain_that_is_asked_to_end_ends_whatever_is_under_way(target: str) -> None:
    """Somebody waits for an answer that no source gives. The brain goes all the same, and its successor serves."""
    async with fake_dns() as server:
        server.go_dark()
        dns = {"kind": "dns", "nameservers": [server.address], "timeout": "60s", "port": 80}
        files = {"kind": "files", "folder": "disco"}
        table = "/svc => /#/files ; /svc/slow => /#/dns/slow.test"
        slow: dict[str, object] = {"bind_timeout": "50s"}
        async with host(table, sources=[dns, files], naming=slow) as started, service("users") as port:
            started.put("users", port)
            await started.until("users", "users")
            old = started.agent.children()["brain"]
            async with load(started.agent.url, "users", callers=1) as seen, asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(_try(started, target))

                async def asked() -> bool:
                    sources = cast("list[dict[str, int]]", (await started.json("/status"))["sources"])
                    return sources[0]["observations"] > 0

                await eventually(asked, PATIENCE, "nobody asks for the slow name")
                os.kill(old, signal.SIGTERM)

                # DESIGN says a second; the rest is for a machine that is busy with other tests.
                def replaced() -> bool:
                    return started.agent.children().get("brain") not in (None, old)

                await eventually(replaced, 4, f"the brain does not end\n{started.agent.tail()}")
                await started.agent.until_ready()
                asking.cancel()
            assert not seen.failed


async def _try(started: Host, target: str) -> None:
    with contextlib.suppress(aiohttp.ClientError):
        await (started.agent.ask(target) if target.startswith("/") else started.call("slow"))


async def test_a_name_server_that_falls_silent_takes_no_endpoint_away() -> None:
    async with fake_dns() as server, service("users") as port:
        server.put("users.test.", "SRV", f"1 1 {port} one.test.", ttl=1)
        server.put("one.test.", "A", "127.0.0.1", ttl=1)
        quick = {"timeout": "300ms", "shortest_ttl": "100ms"}
        dns = {"kind": "dns", "nameservers": [server.address], "record": "srv", **quick}
        async with host("/svc => /#/dns ; /svc/users => /#/dns/users.test", sources=[dns]) as started:
            await started.until("users", "users")
            async with load(started.agent.url, "users", callers=1) as seen:
                server.go_dark()

                async def held() -> bool:
                    return bool((await started.names())["users"]["held"])

                await eventually(held, PATIENCE, "the silent name server is not told of")
                count = seen.answers["users"]
                await eventually(lambda: seen.answers["users"] > count + 50, PATIENCE, "the load stopped")
                unknown = await started.call("nobody.test")
                server.come_back()

                async def fresh() -> bool:
                    return not (await started.names())["users"]["held"]

                await eventually(fresh, PATIENCE, "the name server that is back is not believed")
            assert not seen.failed
            assert unknown.status == 503
            assert "can't tell" in unknown.err


def test_a_token_that_no_header_can_carry_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text(yaml.safe_dump({"dtab": "/svc => /#/consul", "sources": [{"kind": "consul", "token": "a\nb"}]}))
    examined = examine(file)
    assert [problem.key for problem in examined.errors] == ["sources[0].token"], examined
