"""What goes wrong on the way to a daemon, and TLS."""

import asyncio
import datetime as dt
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path as FilePath

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from discovery.docker.api import Api, Files, Server, Slow
from discovery.docker.config import DockerConfig, Tls
from discovery.docker.threads import Threads
from discovery.path import Path
from discovery.source import Misconfigured, SourceError, Unavailable
from tests.discovery.contract import watching
from tests.fakes.docker import FakeContainer, Served, fake_docker

WEB = Path(("-", "web"))


async def asked(address: str, tls: Files | None = None, timeout: float = 5) -> Server | SourceError:
    api, threads = Api(address, tls, timeout), Threads()
    try:
        return await threads.run(api.connect)
    except SourceError as error:
        return error
    finally:
        api.cut()
        assert await threads.ended(5)
        api.close()


@pytest.fixture
async def served(tmp_path: FilePath) -> AsyncIterator[Served]:
    async with fake_docker(tmp_path) as started:
        yield started


async def test_what_a_daemon_says_of_itself(served: Served) -> None:
    server = await asked(served.url)
    assert isinstance(server, Server)
    assert (server.name, server.lists_health, server.rootless) == ("docker-host", True, False)
    served.fake.podman = served.fake.rootless = True
    server = await asked(served.url)
    assert isinstance(server, Server)
    assert (server.lists_health, server.rootless) == (False, True)


async def test_a_socket_that_is_not_there(tmp_path: FilePath) -> None:
    error = await asked(f"unix://{tmp_path}/none.sock")
    assert isinstance(error, Unavailable)
    assert str(error) == (
        f"Docker at unix://{tmp_path}/none.sock is not there: No such file or directory; start it, or correct `address`"
    )


async def test_a_host_where_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{reserved.getsockname()[1]}"
        texts = {str(await asked(address)) for _ in range(2)}
    assert texts == {f"Docker at {address} is not there: Connection refused; start it, or correct `address`"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not")
async def test_a_socket_that_may_not_be_opened(served: Served) -> None:
    assert isinstance(served.place, FilePath)
    served.place.chmod(0o600)
    os.seteuid(65534)
    try:
        error = await asked(served.url)
    finally:
        os.seteuid(0)
    assert isinstance(error, Misconfigured)
    assert "add the agent's user to the group docker" in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, Misconfigured, "answers 400 to /version: not allowed"),
        (401, Misconfigured, "answers 401 to /version: not allowed (a proxy before the socket must allow GET of"),
        (403, Misconfigured, "answers 403 to /version: not allowed (a proxy before the socket must allow GET of"),
        (404, Unavailable, "answers 404 to /version"),
        (500, Unavailable, "answers 500 to /version: not allowed"),
        (503, Unavailable, "answers 503 to /version: not allowed"),
    ],
)
async def test_refusals(served: Served, status: int, kind: type[SourceError], said: str) -> None:
    served.fake.status = status
    error = await asked(served.url)
    assert isinstance(error, kind)
    assert said in str(error)


async def test_silence(served: Served) -> None:
    served.fake.stalls = True
    error = await asked(served.url, timeout=0.05)
    assert isinstance(error, Slow)
    assert str(error) == f"Docker at {served.url} has not answered /version within 0.05 s"


async def test_it_is_not_docker_that_answers(tmp_path: FilePath) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()

    server = await asyncio.start_unix_server(speak, tmp_path / "s")
    async with server:
        error = await asked(f"unix://{tmp_path}/s")
    assert isinstance(error, Unavailable)
    assert "the answer to /version broke off or is none" in str(error)


@dataclass(frozen=True)
class Pki:
    """A throw-away certificate authority, what it signed, and a client's certificate that another one signed."""

    ca: FilePath
    server: tuple[FilePath, FilePath]
    client: tuple[FilePath, FilePath]
    stranger: tuple[FilePath, FilePath]

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        context.load_cert_chain(*self.server)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def pki(folder: FilePath) -> Pki:
    names = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server", "client", "other", "stranger")}
    now = dt.datetime.now(dt.UTC)
    signers = {"ca": "ca", "server": "ca", "client": "ca", "other": "other", "stranger": "other"}
    files = {}
    for name, key in names.items():
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, signers[name])])
        is_ca = signers[name] == name
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(names[signers[name]], hashes.SHA256())
        )
        files[name] = folder / f"{name}.pem", folder / f"{name}-key.pem"
        files[name][0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        files[name][1].write_bytes(key.private_bytes(pem, pkcs8, plain))
    return Pki(files["ca"][0], files["server"], files["client"], files["stranger"])


async def test_tls_checks_both_sides(tmp_path: FilePath) -> None:
    made = pki(tmp_path)
    cert_file, key_file = made.client
    async with fake_docker(tmp_path, tls=made.context()) as served:
        served.fake.run(FakeContainer("one", {"tieline.service": "web"}, {"bridge": "10.0.0.1"}, exposed=(80,)))
        good = Tls(ca_file=made.ca, cert_file=cert_file, key_file=key_file)
        config = DockerConfig(address=served.url, tls=good, reach="container")
        async with config.open() as source, watching(source, WEB) as watch:
            await watch.sees(("10.0.0.1", 80))
            served.fake.stop("one")
            await watch.sees()
        for bad in (
            Tls(cert_file=cert_file, key_file=key_file),
            Tls(ca_file=made.ca),
            Tls(ca_file=made.ca, cert_file=made.stranger[0], key_file=made.stranger[1]),
        ):
            async with DockerConfig(address=served.url, tls=bad).open() as source, watching(source, WEB) as watch:
                error = await watch.ends()
                assert isinstance(error, Unavailable)
                assert watch.published == []
        plain = await asked(served.url)
        assert isinstance(plain, SourceError)


async def test_tls_files_that_cannot_be_used(tmp_path: FilePath) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    for name in ("none.pem", "bad.pem"):
        error = await asked("tcp://127.0.0.1:1", Files(ca=f"{tmp_path}/{name}"))
        assert isinstance(error, Misconfigured)
        assert f"TLS to Docker: one of {tmp_path}/{name} cannot be used" in str(error)
