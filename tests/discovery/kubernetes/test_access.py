from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path as FilePath

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from discovery.kubernetes.access import HOST, PORT, Address, InCluster
from discovery.source import Misconfigured


@pytest.fixture
def account(tmp_path: FilePath) -> FilePath:
    """The folder that every pod has."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    made = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (tmp_path / "ca.crt").write_bytes(certificate)
    (tmp_path / "token").write_text("t0ken")
    return tmp_path


async def test_an_address_is_all_that_is_needed() -> None:
    access = await Address("http://127.0.0.1:8001")()
    assert (access.url, await access.credential.header(), access.ssl) == ("http://127.0.0.1:8001", "", True)


@pytest.mark.parametrize(
    ("host", "url"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
async def test_a_pod_finds_its_own_cluster(host: str, url: str, account: FilePath) -> None:
    access = await InCluster(account, {HOST: host, PORT: "443"})()
    assert access.url == url
    assert await access.credential.header() == "Bearer t0ken"
    assert isinstance(access.ssl, ssl.SSLContext)
    assert len(access.ssl.get_ca_certs()) == 1


@pytest.mark.parametrize("environ", [{}, {HOST: "10.96.0.1"}, {HOST: "", PORT: "443"}])
async def test_outside_a_pod_the_variables_are_missing(environ: dict[str, str], account: FilePath) -> None:
    with pytest.raises(Misconfigured, match="no pod of Kubernetes"):
        await InCluster(account, environ)()


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_certificates_that_cannot_be_used_are_named(content: str | None, tmp_path: FilePath) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(Misconfigured, match=rf"{file} cannot be used"):
        await Address("https://10.96.0.1", ca_file=file)()
