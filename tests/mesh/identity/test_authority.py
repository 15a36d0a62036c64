"""What the authority signs, judged by OpenSSL and by Python's TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mesh.identity import authority
from mesh.identity.authority import Hosts, Signer, Unissuable
from mesh.identity.spiffe import SpiffeId

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
WEB = SpiffeId.host("example.org", "web-1")


def signer(domain: str = "example.org") -> tuple[Signer, Signer]:
    above = authority.root(domain, NOW)
    return above, authority.intermediate(above, domain, NOW)


class Leaf:
    def __init__(self, by: Signer, id: SpiffeId = WEB, now: datetime = NOW, lifetime: timedelta = DAY) -> None:
        self.private = authority.new_key()
        hosts = Hosts(("localhost",), ("127.0.0.1",))
        self.certificate = authority.issue(by, self.private.public_key(), id, now, lifetime, hosts)
        self.chain = authority.pem((self.certificate, *by.chain))

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        files = folder / f"{name}.pem", folder / f"{name}.key"
        files[0].write_bytes(self.chain)
        files[1].write_bytes(self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files


def verified(folder: Path, root: Signer, leaf: Leaf, *more: str) -> str:
    (folder / "root.pem").write_bytes(authority.pem([root.certificate]))
    chain, _ = leaf.write(folder, "leaf")
    files = ["-CAfile", folder / "root.pem", "-untrusted", chain, chain]
    command = ["openssl", "verify", "-x509_strict", *more, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_what_is_issued_is_an_x509_svid() -> None:
    _, by = signer()
    made = Leaf(by).certificate
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [str(WEB)]
    assert authority.identity(made) == WEB
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.digital_signature, usage.value.key_cert_sign) == (True, True, False)
    assert (made.not_valid_after_utc, made.not_valid_before_utc) == (NOW + DAY, NOW - timedelta(minutes=5))
    assert authority.identity(by.certificate) == SpiffeId("example.org")


def test_openssl_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    root, by = signer()
    for purpose in ("sslserver", "sslclient"):
        assert verified(tmp_path, root, Leaf(by), "-purpose", purpose).endswith("leaf.pem: OK\n")


def test_another_root_an_expired_leaf_and_a_leaf_that_signs_are_refused_by_openssl(tmp_path: Path) -> None:
    root, by = signer()
    assert "unable to get local issuer certificate" in verified(tmp_path, signer("other.org")[0], Leaf(by))
    assert "certificate has expired" in verified(tmp_path, root, Leaf(by, now=NOW - 2 * DAY))
    leaf = Leaf(by)
    forger = Signer(leaf.certificate, leaf.private, (leaf.certificate, *by.chain))
    assert "invalid CA certificate" in verified(tmp_path, root, Leaf(forger))


def test_two_that_trust_the_root_know_each_other(tmp_path: Path) -> None:
    root, by = signer()
    (tmp_path / "root.pem").write_bytes(authority.pem([root.certificate]))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "root.pem"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(*Leaf(by).write(tmp_path, "server"))
    client = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
    client.load_cert_chain(*Leaf(by, SpiffeId.service("example.org", "/svc/users")).write(tmp_path, "client"))
    seen: list[object] = []

    def serve(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with server.wrap_socket(accepted, server_side=True) as stream:
            seen.append(stream.getpeercert())
            stream.sendall(b"hello")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        with (
            socket.create_connection(listening.getsockname()) as plain,
            client.wrap_socket(plain, server_hostname="localhost") as stream,
        ):
            assert stream.recv(5) == b"hello"
        thread.join()
    (peer,) = seen
    assert isinstance(peer, dict)
    assert ("URI", "spiffe://example.org/service/svc/users") in peer["subjectAltName"]


def test_nothing_outlives_what_it_is_signed_by() -> None:
    above = authority.root("example.org", NOW, timedelta(days=30))
    by = authority.intermediate(above, "example.org", NOW)
    assert by.certificate.not_valid_after_utc == above.certificate.not_valid_after_utc
    with pytest.raises(Unissuable, match="the authority itself is valid until "):
        Leaf(by, lifetime=timedelta(days=31))


def test_what_can_not_sign_is_told() -> None:
    above, by = signer()
    with pytest.raises(Unissuable, match="may sign no other one"):
        authority.intermediate(by, "example.org", NOW)
    leaf = Leaf(by)
    with pytest.raises(Unissuable, match="none of an authority"):
        authority.intermediate(Signer(leaf.certificate, leaf.private), "example.org", NOW)
    with pytest.raises(Unissuable, match="has expired on "):
        authority.intermediate(above, "example.org", NOW + timedelta(days=4000))
    with pytest.raises(Unissuable, match="its authority's alone"):
        Leaf(by, SpiffeId("example.org"))


def test_no_key_is_shown() -> None:
    _, by = signer()
    assert "PrivateKey" not in repr(by)
