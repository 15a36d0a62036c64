"""Certificates made for a test: an authority, and what it signs."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Signed:
    certificate: x509.Certificate
    private: CertificateIssuerPrivateKeyTypes

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def locked(self, passphrase: bytes) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    def write(self, folder: Path, name: str = "edge") -> tuple[Path, Path]:
        """The certificate's file and the key's."""
        folder.mkdir(parents=True, exist_ok=True)
        files = folder / f"{name}.pem", folder / f"{name}.key"
        for file, content in zip(files, (self.pem, self.key), strict=True):
            file.write_bytes(content)
        return files


class Authority:
    def __init__(self, name: str = "test authority") -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.signed = self._sign(self._name, ec.generate_private_key(ec.SECP256R1()), None, [], DAY, authority=True)

    def server(
        self, *names: str, valid: timedelta = DAY, private: CertificateIssuerPrivateKeyTypes | None = None
    ) -> Signed:
        """For DNS names, IP addresses and URIs. A negative `valid` has passed."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        return self._sign(subject, private or ec.generate_private_key(ec.SECP256R1()), self.signed, names, valid)

    def write(self, folder: Path, name: str = "ca") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.pem"
        file.write_bytes(self.signed.pem)
        return file

    def trusting(self, *, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        """A client that trusts this authority."""
        context = ssl.create_default_context(cadata=self.signed.pem.decode())
        context.set_alpn_protocols(list(alpn))
        return context

    def _sign(
        self,
        subject: x509.Name,
        private: CertificateIssuerPrivateKeyTypes,
        issuer: Signed | None,
        names: list[str] | tuple[str, ...],
        valid: timedelta,
        *,
        authority: bool = False,
    ) -> Signed:
        now = datetime.now(UTC)
        end = now + valid
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, end) - DAY)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        signer = issuer.private if issuer else private
        return Signed(builder.sign(signer, hashes.SHA256()), private)


def _general(names: list[str] | tuple[str, ...]) -> Iterator[x509.GeneralName]:
    for name in names:
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            yield x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name)
