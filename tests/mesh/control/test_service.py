"""The control plane as a process: it starts, says when it is ready, outlives its store, and ends within a second."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mesh.control.config import ListenTls
from mesh.control.grants import digest
from mesh.control.listening import Tls
from scripts.consul import agent, find
from scripts.ports import free_port
from scripts.running import TIELINE, end, eventually, folder
from tests.certificates import Authority
from tests.control import PATIENCE, Said, configured, control, token

ONE = "/v1/namespaces/default"


@contextmanager
def process(place: Path, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`tieline control` in `place`; its log is `control.log`."""
    config = configured(place, **settings)
    environment = {**os.environ, "NOTIFY_SOCKET": str(place / "notify")}
    with (place / "control.log").open("ab") as log:
        command = [TIELINE, "control", "-c", str(config)]
        started = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield started
    finally:
        end(started)


@contextmanager
def notified(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(place / "notify"))
        sock.settimeout(PATIENCE * 2)
        yield sock


@asynccontextmanager
async def asking(place: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(place / "run" / "control.sock"))
    async with aiohttp.ClientSession("http://control", connector=connector) as session:
        yield session


async def test_it_says_ready_serves_keeps_what_it_was_told_and_ends_at_once() -> None:
    with folder() as place, notified(place) as told:
        with process(place) as running:
            assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
            async with asking(place) as session:
                async with session.put(ONE, json={"dtab": "/svc => /#/files"}) as response:
                    assert response.status == 200
                # Streams are open when it ends.
                async with session.get("/api/1/dtabs?watch=1") as stream, session.ws_connect("/v1/agent") as joined:
                    assert await stream.content.readline() == b'["default"]\n'
                    hello = {"type": "hello", "protocol": 1, "agent": "a", "version": "0.1.0", "namespace": "default"}
                    await joined.send_json({**hello, "table": None, "sources": None})
                    assert (await joined.receive_json())["type"] == "welcome"
                    began = time.monotonic()
                    running.send_signal(signal.SIGTERM)
                    assert await asyncio.to_thread(told.recv, 100) == b"STOPPING=1"
                    assert await asyncio.to_thread(running.wait, PATIENCE) == 0
                    print(f"ended after {time.monotonic() - began:.2f} s")
                    while (message := await joined.receive()).type is aiohttp.WSMsgType.TEXT:
                        pass
                    assert message.data == aiohttp.WSCloseCode.GOING_AWAY
        log = (place / "control.log").read_text()
        assert "Traceback" not in log
        assert log.rstrip().endswith("stopped")
        assert not (place / "run" / "control.sock").exists()
        with process(place):
            assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
            async with asking(place) as session, session.get(ONE) as response:
                assert (await response.json())["dtab"] == "/svc => /#/files"


async def test_a_second_one_in_the_same_folder_is_refused() -> None:
    with folder() as place, notified(place) as told, process(place):
        assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
        command = [TIELINE, "control", "-c", str(place / "control.yaml")]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "another control plane runs in" in done.stderr
        (place / "another.yaml").write_text(
            (place / "control.yaml").read_text().replace("run_dir: run", "run_dir: other")
        )
        command[-1] = str(place / "another.yaml")
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert (done.returncode, f"another control plane runs in {place / 'state'}" in done.stderr) == (1, True)
        async with asking(place) as session, session.get("/readyz") as response:
            assert response.status == 200, "the first one goes on"


async def test_a_hangup_does_not_end_it() -> None:
    with folder() as place, notified(place) as told, process(place) as running:
        assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
        running.send_signal(signal.SIGHUP)
        log = place / "control.log"
        await eventually(lambda: "is not read again" in log.read_text(), PATIENCE, "the signal was not heard")
        async with asking(place) as session, session.get("/readyz") as response:
            assert response.status == 200


CAN_NOT_START: list[Any] = [
    pytest.param({"run_dir": "/proc/nothing"}, "/proc/nothing", id="folder"),
    pytest.param({"listen": {"port": 70000}}, "listen.port", id="configuration"),
]


@pytest.mark.parametrize(("settings", "said"), CAN_NOT_START)
def test_what_hinders_it_from_starting_is_said(settings: dict[str, Any], said: str) -> None:
    with folder() as place:
        command = [TIELINE, "control", "-c", str(configured(place, **settings))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said() -> None:
    with folder() as place, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [TIELINE, "control", "-c", str(configured(place, listen={"port": port}))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"127.0.0.1:{port} can't be listened on: address already in use. Free it" in done.stderr
        assert "Traceback" not in done.stderr


# A store that is away


def away() -> dict[str, Any]:
    return {"kind": "consul", "address": f"http://127.0.0.1:{free_port()}"}


async def test_before_the_store_has_answered_nobody_is_told_that_there_is_nothing() -> None:
    async with control(ready=False, store=away()) as served:
        assert (await served.get("/readyz")).status == 503
        assert (await served.get("/healthz")).status == 200
        for path in ("/v1/namespaces", ONE, "/api/1/dtabs", "/api/1/dtabs/default", "/api/1/bind/default?path=/a"):
            said = await served.get(path)
            assert said.status == 503, path
            assert "no table is known yet" in said.error
        put = await served.ask("PUT", ONE, json={"dtab": "/a => /b"})
        assert put.status == 503
        health = (await served.get("/v1/health")).json
        assert (health["ok"], health["store"]["answered"]) == (False, False)
        assert "the store can't be asked" in health["wrong"][0]


@pytest.mark.skipif(find() is None, reason="no consul here: `python -m scripts.consul --fetch` says why")
async def test_a_replica_that_loses_its_store_goes_on_and_says_so() -> None:
    async with agent() as store, control(store={"kind": "consul", "address": store.url, "timeout": "2s"}) as served:
        await served.put("/svc => /#/files")
        await store.kill()
        await eventually(lambda: served.control.tables.held, PATIENCE, "the loss was not noticed")
        assert (await served.get("/readyz")).status == 200
        assert (await served.get(ONE)).json["dtab"] == "/svc => /#/files"
        put = await served.ask("PUT", ONE, json={"dtab": "/svc => ~", "yes": True})
        assert put.status == 503
        assert store.url in put.error
        assert (await served.get(f"{ONE}/history")).status == 503, "no empty history"
        health = (await served.get("/v1/health")).json
        assert health["store"]["held"] is not None
        assert not health["ok"]
        metrics = (await served.get("/metrics")).body.decode()
        [held] = [line for line in metrics.splitlines() if line.startswith("tieline_control_store_held_seconds ")]
        assert float(held.split()[1]) > 0
        [record] = [each for each in (await served.get("/v1/audit")).json["records"] if each["result"] == "failed"]
        assert record["status"] == 503


# The audit log


async def test_a_change_that_can_not_be_recorded_is_not_made() -> None:
    async with control() as served:
        await served.put("/a => /1")
        log = served.folder / "state" / "audit.log"
        log.rename(log.with_name("elsewhere"))
        log.mkdir()
        for method, path, more in (
            ("PUT", ONE, {"json": {"dtab": "/a => /2"}}),
            ("DELETE", ONE, {}),
            ("PUT", "/api/1/dtabs/default", {"data": b"/a => /2", "headers": {"Content-Type": "application/dtab"}}),
        ):
            said = await served.ask(method, path, **more)
            assert said.status == 503, method
            assert "nothing was changed: the audit log can't be written" in said.error
        assert (await served.get(ONE)).json["version"] == 1
        assert "audit log" in (await served.get("/v1/health")).json["wrong"][0]
        metrics = (await served.get("/metrics")).body.decode()
        assert "tieline_control_audit_failures_total 0.0" not in metrics
        log.rmdir()
        await served.put("/a => /3")
        assert (await served.get("/v1/health")).json["ok"]


# TLS


async def test_a_client_is_known_by_its_certificate_and_a_stranger_is_nobody() -> None:
    with folder() as place:
        authority, clients = Authority("servers"), Authority("clients")
        authority.server("127.0.0.1").write(place, "control")
        clients.write(place, "clients")
        files = {name: clients.server(f"{name}.example.org").write(place, name) for name in ("writer", "stranger")}
        foreign = Authority("foreign").server("writer.example.org").write(place, "foreign")
        rows = f"tokens: [{{name: writer, role: write, sha256: {digest(token('writer'))}}}]\n"
        (place / "certs.yaml").write_text(rows + "certificates: [{name: writer.example.org, role: write}]\n")
        tls = {"cert": "control.pem", "key": "control.key", "client_ca": "clients.pem"}
        async with control(at=place, listen={"port": 0, "tls": tls}, allow="none", tokens_file="certs.yaml") as served:
            port = served.control.listens.result()

            async def ask(pair: tuple[Path, Path] | None, **headers: str) -> Said:
                context = authority.trusting()
                if pair is not None:
                    context.load_cert_chain(*pair)
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
                    session.put(
                        f"https://127.0.0.1:{port}{ONE}", json={"dtab": "/a => /b"}, headers=headers
                    ) as response,
                ):
                    return Said(response.status, {}, await response.read())

            assert (await ask(files["writer"])).status == 200
            assert (await served.get(ONE, by="socket")).json["who"] == "writer.example.org"
            stranger = await ask(files["stranger"])
            assert (stranger.status, "stranger.example.org has none" in stranger.error) == (403, True)
            assert (await ask(None)).status == 401
            assert (await ask(None, Authorization=f"Bearer {token('writer')}")).status == 200
            with pytest.raises(aiohttp.ClientError):
                await ask(foreign)


async def test_the_process_knows_clients_by_their_certificates() -> None:
    """With its own event loop, which has another TLS than this process."""
    port = free_port()
    with folder() as place, notified(place) as told:
        authority = Authority()
        authority.server("127.0.0.1").write(place, "control")
        authority.write(place)
        pair = authority.server("ci.example.org").write(place, "ci")
        (place / "certs.yaml").write_text("certificates: [{name: ci.example.org, role: write}]\n")
        tls = {"cert": "control.pem", "key": "control.key", "client_ca": "ca.pem"}
        with process(place, listen={"port": port, "tls": tls}, tokens_file="certs.yaml", allow="none"):
            assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
            context = authority.trusting()
            context.load_cert_chain(*pair)
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
                session.put(f"https://127.0.0.1:{port}{ONE}", json={"dtab": "/a => /b"}) as response,
            ):
                assert (response.status, (await response.json())["who"]) == (200, "ci.example.org")


async def test_an_authority_of_clients_that_is_replaced_counts_for_new_ones() -> None:
    with folder() as place:
        servers, old, new = Authority("servers"), Authority("old"), Authority("new")
        servers.server("127.0.0.1").write(place, "control")
        old.write(place, "clients")
        pairs = [
            authority.server("writer.example.org").write(place, name) for authority, name in ((old, "o"), (new, "n"))
        ]
        tls = {"cert": "control.pem", "key": "control.key", "client_ca": "clients.pem"}
        async with control(at=place, listen={"port": 0, "tls": tls}) as served:
            port = served.control.listens.result()

            async def status(pair: tuple[Path, Path]) -> int | None:
                context = servers.trusting()
                context.load_cert_chain(*pair)
                try:
                    async with (
                        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
                        session.get(f"https://127.0.0.1:{port}/healthz") as response,
                    ):
                        return response.status
                except aiohttp.ClientError:
                    return None

            assert [await status(pair) for pair in pairs] == [200, None]
            new.write(place, "clients")

            async def replaced() -> bool:
                return [await status(pair) for pair in pairs] == [None, 200]

            await eventually(replaced, PATIENCE, "the new authority is not believed")


async def test_a_renewed_certificate_is_shown_to_new_clients_and_a_bad_one_never() -> None:
    with folder() as place:
        authority = Authority()
        first, second = authority.server("127.0.0.1"), authority.server("127.0.0.1")
        first.write(place, "control")
        files = {"cert": "control.pem", "key": "control.key"}
        async with control(at=place, listen={"port": 0, "tls": files}) as served:
            port = served.control.listens.result()
            assert port is not None

            async def serial() -> int:
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.trusting())
                shown = writer.get_extra_info("peercert")["serialNumber"]
                writer.close()
                await writer.wait_closed()
                return int(shown, 16)

            assert await serial() == first.serial
            (place / "control.key").write_bytes(b"nonsense")
            tls = served.control.tls
            assert tls is not None
            await eventually(lambda: tls.problem, PATIENCE, "the bad key was not noticed")
            assert await serial() == first.serial
            second.write(place, "control")
            # Whoever connects meanwhile is served, by the one or the other.

            async def renewed() -> bool:
                return await serial() == second.serial

            await eventually(renewed, PATIENCE, "the new certificate is not shown")


def test_tls_of_before_1_2_is_not_spoken() -> None:
    with folder() as place:
        Authority().server("127.0.0.1").write(place, "control")
        tls = Tls(ListenTls(cert=place / "control.pem", key=place / "control.key"))
        assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2
