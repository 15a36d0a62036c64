"""An authority: a root, the intermediate that signs in its name, and the X.509 SVIDs that it issues. Pure but for keys.

ECDSA on P-256 throughout: Envoy, Python and every browser take it, and a handshake costs a tenth of RSA's.
Source: https://spiffe.io/docs/latest/spiffe-specs/x509-svid/, sections 2 to 5; RFC 5280, sections 4.1 and 4.2.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mesh.identity.spiffe import NotSpiffe, SpiffeId

ROOT_LIFETIME: Final = timedelta(days=3650)
INTERMEDIATE_LIFETIME: Final = timedelta(days=365)
LEAF_LIFETIME: Final = timedelta(hours=24)
_DNS_NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""A certificate is valid from so long ago: hosts' clocks are not alike."""


Extension = TypeVar("Extension", bound=x509.ExtensionType)


class Unissuable(Exception):
    """The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Signer:
    """`chain`: the certificates that lead to the root, which is not among them, its own first; none for a root."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Hosts:
    """What a certificate is for besides its SPIFFE id: the names and IP addresses by which clients without SPIFFE know
    the host."""

    names: Sequence[str] = ()
    addresses: Sequence[str] = ()

    def general(self) -> Iterator[x509.GeneralName]:
        """Raises Unissuable."""
        for name in self.names:
            if not _DNS_NAME.fullmatch(name):
                raise Unissuable(f"{name!r} is no DNS name: letters, digits, '-' and '.' expected")
            yield x509.DNSName(name)
        for address in self.addresses:
            try:
                yield x509.IPAddress(ipaddress.ip_address(address))
            except ValueError as error:
                raise Unissuable(f"{address!r} is no IP address") from error


NONE: Final = Hosts()


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def root(trust_domain: str, now: datetime, lifetime: timedelta = ROOT_LIFETIME) -> Signer:
    key = new_key()
    name = _name(f"{trust_domain} root {now:%Y-%m-%d}")
    made = _authority(SpiffeId.of(trust_domain), name, key.public_key(), None, now, now + lifetime)
    return Signer(_signed(made, None, name, key), key)


def intermediate(
    above: Signer, trust_domain: str, now: datetime, lifetime: timedelta = INTERMEDIATE_LIFETIME
) -> Signer:
    """It can sign leaves alone, and lives no longer than what it is signed by. Raises Unissuable."""
    check_root(above.certificate, now)
    key, end = new_key(), min(now + lifetime, above.certificate.not_valid_after_utc)
    name = _name(f"{trust_domain} intermediate {now:%Y-%m-%d}")
    made = _authority(SpiffeId.of(trust_domain), name, key.public_key(), 0, now, end)
    certificate = _signed(made, above.certificate, above.certificate.subject, above.key)
    return Signer(certificate, key, (certificate, *above.chain))


def check_root(certificate: x509.Certificate, now: datetime) -> None:
    """Whether it may sign an intermediate. Raises Unissuable."""
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is None or not basic.ca:
        raise Unissuable("the certificate is none of an authority (CA:TRUE is missing)")
    if basic.path_length == 0:
        raise Unissuable("the authority may sign no other one (its path length is 0)")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise Unissuable("the authority may not sign certificates (keyCertSign is missing)")
    if now >= certificate.not_valid_after_utc:
        raise Unissuable(f"the authority has expired on {certificate.not_valid_after_utc:%Y-%m-%d}")


def issue(
    signer: Signer,
    public: ec.EllipticCurvePublicKey,
    id: SpiffeId,
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
    hosts: Hosts = NONE,
) -> x509.Certificate:
    """An X.509 SVID: one SPIFFE id, to be a server and a client with. Raises Unissuable."""
    end = now + lifetime
    if end > signer.certificate.not_valid_after_utc:
        until = f"{signer.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        raise Unissuable(f"the authority itself is valid until {until}; renew it, or ask for less")
    if not id.path:
        raise Unissuable(f"{id} is the trust domain's id, which is its authority's alone")
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    made = (
        _begun(_name(id.path[-1][:64]), public, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(_names(id, hosts), critical=False)
    )
    return _signed(made, signer.certificate, signer.certificate.subject, signer.key)


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def identity(certificate: x509.Certificate) -> SpiffeId | None:
    """None: it has none, or more than one URI, which no SVID may."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    uris = [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    try:
        return SpiffeId.parse(uris[0]) if len(uris) == 1 else None
    except NotSpiffe:
        return None


def _authority(
    id: SpiffeId,
    name: x509.Name,
    public: ec.EllipticCurvePublicKey,
    path_length: int | None,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        _begun(name, public, now, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(_names(id, NONE), critical=False)
    )


def _begun(name: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _signed(
    made: x509.CertificateBuilder,
    issuer: x509.Certificate | None,
    name: x509.Name,
    key: CertificateIssuerPrivateKeyTypes,
) -> x509.Certificate:
    """`issuer` None: it signs itself."""
    known_as = None if issuer is None else _extension(issuer, x509.SubjectKeyIdentifier)
    by = (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        if known_as is None
        else x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known_as)
    )
    return made.issuer_name(name).add_extension(by, critical=False).sign(key, hashes.SHA256())


def _names(id: SpiffeId, hosts: Hosts) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(id)), *hosts.general()])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
