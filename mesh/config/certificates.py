"""Files of certificates, read and checked before Envoy gets them: what is returned here, it takes.

PEM. Keys: RSA of 2048 to 4096 bits, or ECDSA on P-256, P-384 or P-521, without a passphrase. No error holds a key.
"""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

SYSTEM_BUNDLES = (
    pathlib.Path("/etc/ssl/certs/ca-certificates.crt"),
    pathlib.Path("/etc/pki/tls/certs/ca-bundle.crt"),
    pathlib.Path("/etc/ssl/cert.pem"),
)
"""Where Debian, Red Hat and Alpine keep the authorities that a host trusts."""
FEWEST_BITS, MOST_BITS = 2048, 4096
"""Of an RSA key: to look at one of 8192 bits takes seconds."""
CURVES = ("secp256r1", "secp384r1", "secp521r1")


class BadCertificate(Exception):
    """`key`: which of the files is at fault, by the name of its setting."""

    def __init__(self, key: str, file: pathlib.Path, message: str, hint: str) -> None:
        super().__init__(f"{file}: {message}. {hint}")
        self.key, self.file, self.message, self.hint = key, file, message, hint


@dataclass(frozen=True, slots=True)
class Material:
    """What was read. `private`: the key, of a pair. The dates are those that end the whole first."""

    certificates: bytes
    not_before: datetime
    not_after: datetime
    private: bytes = field(default=b"", repr=False)

    def doubt(self, now: datetime) -> str | None:
        if now > self.not_after:
            return f"expired on {self.not_after:%Y-%m-%d}"
        if now < self.not_before:
            return f"is not valid before {self.not_before:%Y-%m-%d %H:%M} UTC"
        return None


def pair(cert: pathlib.Path, key: pathlib.Path) -> Material:
    """A certificate, with those it needs to be trusted behind it, and its key. Raises BadCertificate."""
    text, secret = _read("cert", cert), _read("key", key)
    chain, private = _certificates("cert", cert, text), _private_key(key, secret)
    owner = next((index for index, each in enumerate(chain) if _belong(each, private)), None)
    if owner is None:
        raise BadCertificate("key", key, f"this is not the key of {cert}", "Give the two that were made together")
    if owner:
        message = f"the certificate of this key is number {owner + 1} of {cert}"
        raise BadCertificate("key", key, message, "Put it first, before those that it is signed by")
    return _material(chain[:1], text, secret)


def bundle(file: pathlib.Path, key: str = "ca") -> Material:
    """Certificates of authorities, one or many. Raises BadCertificate."""
    text = _read(key, file)
    return _material(_certificates(key, file, text), text)


def system_bundle() -> pathlib.Path:
    """The first that is there; the first of all, if none is."""
    return next((each for each in SYSTEM_BUNDLES if each.is_file()), SYSTEM_BUNDLES[0])


def _material(counted: Iterable[Certificate], text: bytes, private: bytes = b"") -> Material:
    dates = [(each.not_valid_before_utc, each.not_valid_after_utc) for each in counted]
    # A bundle may hold authorities that have had their day; it is of use until the last of them has.
    return Material(text, min(first for first, _ in dates), max(last for _, last in dates), private)


def _read(key: str, file: pathlib.Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        message = f"the file can't be read: {(error.strerror or str(error)).lower()}"
        raise BadCertificate(key, file, message, "Give the path of a readable file") from error


def _certificates(key: str, file: pathlib.Path, text: bytes) -> list[Certificate]:
    from cryptography import x509
    from cryptography.utils import CryptographyDeprecationWarning

    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise BadCertificate(key, file, "no certificate in this file", "PEM expected: -----BEGIN CERTIFICATE-----")
    try:
        # Of a serial number that is not positive, which some authorities that everyone trusts have.
        with warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning):
            return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise BadCertificate(key, file, "a certificate in it is damaged", "Get the file again") from None


def _private_key(file: pathlib.Path, text: bytes) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"PRIVATE KEY-----" not in text:
        raise BadCertificate("key", file, "no private key in this file", "PEM expected: -----BEGIN PRIVATE KEY-----")
    # An error of the library might quote what it read.
    try:
        found = load_pem_private_key(_from_key_on(text), None)
    except TypeError:
        raise BadCertificate("key", file, "the key has a passphrase", "Store it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadCertificate("key", file, "the key is damaged or of an unknown kind", "Get the file again") from None
    fits = isinstance(found, rsa.RSAPrivateKey) and FEWEST_BITS <= found.key_size <= MOST_BITS
    if not (fits or (isinstance(found, ec.EllipticCurvePrivateKey) and found.curve.name in CURVES)):
        hint = f"Use RSA of {FEWEST_BITS} to {MOST_BITS} bits, or ECDSA on P-256, P-384 or P-521"
        raise BadCertificate("key", file, "Envoy does not take keys of this kind", hint)
    return found


def _from_key_on(text: bytes) -> bytes:
    """Certificates and parameters may stand before the key in the same file."""
    return text[text.rindex(b"-----BEGIN ", 0, text.index(b"PRIVATE KEY-----")) :]


def _belong(certificate: Certificate, private: PrivateKeyTypes) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*form) == private.public_key().public_bytes(*form)


def now() -> datetime:
    return datetime.now(UTC)
