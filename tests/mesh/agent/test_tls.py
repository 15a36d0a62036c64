"""Routers that speak TLS, through a real agent and Envoy: who may connect, and certificates that are replaced."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mesh.agent import envoy_admin
from scripts.ports import free_port
from scripts.running import TIELINE, eventually, service
from tests.certificates import Authority, Signed
from tests.host import PATIENCE, Host, host, rewrite
from tests.upstream import upstream


@asynccontextmanager
async def edge(folder: Path, **tls: object) -> AsyncIterator[tuple[Host, int]]:
    """A host whose router speaks TLS at the port, with edge.pem and edge.key of `folder`."""
    port = free_port()
    section = {"cert": str(folder / "edge.pem"), "key": str(folder / "edge.key"), **tls}
    async with host(routers=[{"name": "edge", "port": port, "tls": section}]) as started:
        yield started, port
        await started.no_nacks()


async def served(port: int, authority: Authority) -> int:
    """The serial number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.trusting(), server_hostname="localhost")
    shown = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    await writer.wait_closed()
    return int(shown["serialNumber"], 16)


async def get(port: int, context: ssl.SSLContext, name: str = "users") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"https://127.0.0.1:{port}/", headers={"host": name}, ssl=context, server_hostname="localhost"
        ) as response,
    ):
        return response.status, await response.text()


async def test_clients_of_every_kind_are_served_and_old_ones_refused(tmp_path: Path) -> None:
    authority = Authority()
    authority.server("localhost").write(tmp_path)
    trusted = authority.write(tmp_path)
    async with edge(tmp_path, min_version=1.3) as (started, port), service("users") as upstream_port:
        started.put("users", upstream_port)
        assert await get(port, authority.trusting()) == (200, "users")
        for http2, version in ((True, "HTTP/2"), (False, "HTTP/1.1")):
            async with httpx.AsyncClient(http2=http2, verify=authority.trusting()) as client:
                answer = await client.get(f"https://localhost:{port}/", headers={"host": "users"})
                assert (answer.status_code, answer.text, answer.http_version) == (200, "users", version)
        for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
            command = ["curl", "-sS", flag, "--cacert", str(trusted), "-H", "host: users", "-w", " %{http_version}"]
            done = await asyncio.to_thread(
                subprocess.run, [*command, f"https://localhost:{port}/"], capture_output=True, text=True, check=True
            )
            assert done.stdout == f"users {version}"
        old = authority.trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(port, old)


@pytest.mark.parametrize(
    "private",
    [
        pytest.param(lambda: rsa.generate_private_key(65537, 2048), id="rsa2048"),
        pytest.param(lambda: rsa.generate_private_key(65537, 4096), id="rsa4096"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), id="p384"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP521R1()), id="p521"),
    ],
)
async def test_every_kind_of_key_that_is_not_refused_is_taken_by_envoy(
    tmp_path: Path, private: Callable[[], object]
) -> None:
    authority = Authority()
    signed = authority.server("localhost", private=private())  # type: ignore[arg-type]
    signed.write(tmp_path)
    async with edge(tmp_path) as (_, port):
        assert await served(port, authority) == signed.serial


def renamed(folder: Path, signed: Signed) -> None:
    """Each file atomically, the key first: for a moment the two don't belong together."""
    for file, content in ((folder / "edge.key", signed.key), (folder / "edge.pem", signed.pem)):
        fresh = file.with_suffix(".fresh")
        fresh.write_bytes(content)
        fresh.rename(file)


def overwritten(folder: Path, signed: Signed) -> None:
    (folder / "edge.pem").write_bytes(signed.pem)
    (folder / "edge.key").write_bytes(signed.key)


def as_kubernetes(folder: Path, signed: Signed) -> None:
    """`edge.pem` links into `..data`, which is a link that is replaced by rename."""
    versions = folder / f"..{signed.serial}"
    signed.write(versions)
    (folder / "..fresh").symlink_to(versions.name)
    (folder / "..fresh").rename(folder / "..data")
    for name in ("edge.pem", "edge.key"):
        if not (folder / name).is_symlink():
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(f"..data/{name}")


def as_certbot(folder: Path, signed: Signed) -> None:
    """Links that are removed and made anew."""
    archive = folder / f"archive{signed.serial}"
    signed.write(archive)
    for name in ("edge.pem", "edge.key"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(archive / name)


async def test_a_certificate_is_replaced_in_every_way_without_a_lost_request(tmp_path: Path) -> None:
    authority = Authority()
    authority.server("localhost").write(tmp_path)
    answered, failed, done = 0, [], asyncio.Event()

    async def call(port: int, *, anew: bool) -> None:
        nonlocal answered
        connector = aiohttp.TCPConnector(force_close=anew, ssl=authority.trusting())
        async with aiohttp.ClientSession(connector=connector, headers={"host": "users"}) as session:
            while not done.is_set():
                try:
                    async with session.get(f"https://127.0.0.1:{port}/", server_hostname="localhost") as response:
                        answered += 1
                        if (response.status, await response.text()) != (200, "users"):
                            failed.append(str(response.status))
                except aiohttp.ClientError as error:
                    failed.append(repr(error))

    async with edge(tmp_path) as (started, port), service("users") as upstream_port, asyncio.TaskGroup() as tasks:
        started.put("users", upstream_port)
        assert await get(port, authority.trusting()) == (200, "users")
        calling = [tasks.create_task(call(port, anew=anew)) for anew in (True, True, False, False)]
        for replace in (renamed, overwritten, as_kubernetes, as_kubernetes, as_certbot, as_certbot, renamed):
            signed = authority.server("localhost")
            replace(tmp_path, signed)

            async def shown(serial: int = signed.serial) -> bool:
                return await served(port, authority) == serial

            await eventually(shown, PATIENCE, f"{replace.__name__}: the new certificate is not served")
        before = answered
        await eventually(lambda: answered > before + 50, PATIENCE, "the load stopped")
        done.set()
        for task in calling:
            await task
    assert failed == []


async def test_a_bad_file_leaves_the_last_good_certificate_and_is_told(tmp_path: Path) -> None:
    authority = Authority()
    first = authority.server("localhost")
    first.write(tmp_path)
    async with edge(tmp_path) as (started, port):

        async def fault() -> str:
            (row,) = (await started.json("/status"))["certificates"]  # type: ignore[misc]
            return str(row["error"])

        async def tells(text: str) -> None:
            async def told() -> bool:
                try:
                    return text in await fault()
                except OSError:
                    return False  # the next brain is not there yet

            await eventually(told, PATIENCE, f"status does not say {text!r}")

        (tmp_path / "edge.key").write_bytes(authority.server("localhost").key)
        await tells("this is not the key of")
        assert await served(port, authority) == first.serial
        command = [TIELINE, "status", "--admin", str(started.agent.admin)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "✗ certificate router/edge/certificate: Envoy keeps the last good one" in done.stderr
        (tmp_path / "edge.pem").unlink()
        await tells("no such file or directory")
        # The next brain never saw a good one: Envoy has it still.
        os.kill(started.agent.children()["brain"], signal.SIGKILL)
        await tells("no such file or directory")
        assert await served(port, authority) == first.serial
        # A configuration that can't be used is not used.
        started.agent.process.send_signal(signal.SIGHUP)
        await eventually(
            lambda: "the new configuration can't be used" in started.agent.log.read_text(), PATIENCE, "no complaint"
        )
        assert await served(port, authority) == first.serial
        second = authority.server("localhost")
        renamed(tmp_path, second)
        await tells("None")

        async def shown() -> bool:
            return await served(port, authority) == second.serial

        await eventually(shown, PATIENCE, "the good certificate is not served")
        log = started.agent.log.read_text()
        assert "a certificate can't be used; Envoy keeps the last good one" in log


async def test_another_file_is_configured_while_connections_stay(tmp_path: Path) -> None:
    authority = Authority()
    authority.server("localhost").write(tmp_path)
    other = authority.server("localhost")
    cert, key = other.write(tmp_path, "other")
    async with edge(tmp_path) as (started, port), service("users") as upstream_port:
        started.put("users", upstream_port)
        connector = aiohttp.TCPConnector(ssl=authority.trusting(), limit=1)
        async with aiohttp.ClientSession(connector=connector, headers={"host": "users"}) as session:
            async with session.get(f"https://127.0.0.1:{port}/", server_hostname="localhost") as response:
                assert response.status == 200
            tls = {"cert": str(cert), "key": str(key)}
            rewrite(started.agent.config, routers=[{"name": "edge", "port": port, "tls": tls}])
            started.agent.process.send_signal(signal.SIGHUP)

            async def shown() -> bool:
                return await served(port, authority) == other.serial

            await eventually(shown, PATIENCE, "the other certificate is not served")
            async with session.get(f"https://127.0.0.1:{port}/", server_hostname="localhost") as response:
                assert response.status == 200
            counted = await envoy_admin.get(started.agent.folder / "run" / "envoy.sock", "/stats?filter=lds")
            assert "listener_manager.lds.update_success" in counted.decode()
            counted = await envoy_admin.get(started.agent.folder / "run" / "envoy.sock", "/stats?filter=listener_m")
            assert "listener_manager.listener_modified: 0" in counted.decode()


async def test_clients_show_a_certificate_of_the_right_authority_and_services_learn_whose(tmp_path: Path) -> None:
    authority, clients = Authority(), Authority("clients")
    authority.server("localhost").write(tmp_path)
    ca = clients.write(tmp_path, "clients")

    def shows(signed: Signed | None, name: str) -> ssl.SSLContext:
        context = authority.trusting()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # here a refusal is part of the handshake
        if signed is not None:
            context.load_cert_chain(*signed.write(tmp_path / name))
        return context

    async with (
        edge(tmp_path, client_ca=str(ca), require_client_cert=True) as (started, port),
        upstream("users") as users,
    ):
        started.put("users", users.port)
        good = shows(clients.server("spiffe://example/caller"), "good")
        assert await get(port, good) == (200, "users")
        assert users.last_headers["x-forwarded-client-cert"].endswith("URI=spiffe://example/caller")
        for bad in (shows(None, "none"), shows(authority.server("intruder"), "bad")):
            with pytest.raises(aiohttp.ClientError):
                await get(port, bad)
        # Another authority is trusted from now on.
        ca.write_bytes(Authority("others").signed.pem)

        async def refused() -> bool:
            try:
                await get(port, good)
            except aiohttp.ClientError:
                return True
            return False

        await eventually(refused, PATIENCE, "the old authority is still trusted")


async def test_no_key_is_shown_anywhere(tmp_path: Path) -> None:
    authority = Authority()
    signed = authority.server("localhost")
    signed.write(tmp_path)
    async with edge(tmp_path) as (started, port), service("users") as upstream_port:
        started.put("users", upstream_port)
        assert (await get(port, authority.trusting()))[0] == 200
        dump = await envoy_admin.get(started.agent.folder / "run" / "envoy.sock", "/config_dump?include_eds")
        pages = [await started.agent.ask(page) for page in ("/status", "/explain?name=users", "/names", "/metrics")]
        shown = [dump.decode(), started.agent.log.read_text(), *(text for _, text in pages)]
        assert base64.b64encode(b"[redacted]").decode() in shown[0]
        assert "tieline_certificate_expiry_seconds" in shown[-1]
        body = signed.key.splitlines()[1]
        for text in shown:
            assert body.decode() not in text
            # As JSON shows bytes; whatever stands before it, one of three is right.
            assert not any(base64.b64encode(body[shift : shift + 45]).decode() in text for shift in range(3))
