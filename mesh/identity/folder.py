"""An authority in files, for one host or for a site that keeps it apart:

    authority.json                the trust domain, which generation signs, which are trusted: what counts
    1/root.pem 1/root.key         a generation; without root.key it can have no new intermediate
    1/signing.pem 1/signing.key   its intermediate, with those above it but for the root
    bundle.pem                    every trusted root: what hosts need

Keys are for the owner alone, and locked with a passphrase if there is one. A change is made when authority.json has
been replaced: what was begun before and did not come so far is done anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path as File
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mesh.identity import authority
from mesh.identity.authority import NONE, Hosts, Signer, Unissuable
from mesh.identity.spiffe import NotSpiffe, SpiffeId, checked_trust_domain
from mesh.identity.stages import SPREAD, Stage, Step

VERSION: Final = 1
FEWEST_BITS: Final = 2048


class Unusable(Exception):
    """The folder, or a file in it. The text says which, why, and what to do; it holds no secret."""


@dataclass(frozen=True, slots=True)
class Issued:
    """PEM. `chain`: the certificate, and what leads from it to the root."""

    id: SpiffeId
    chain: bytes
    key: bytes = field(repr=False)
    not_after: datetime


class Authority:
    """`passphrase` None: keys are not locked."""

    def __init__(self, folder: File, trust_domain: str, stage: Stage, passphrase: bytes | None) -> None:
        self.folder, self.trust_domain, self.stage = folder, trust_domain, stage
        self._passphrase = passphrase

    @property
    def bundle(self) -> File:
        return self.folder / "bundle.pem"

    def roots(self) -> list[x509.Certificate]:
        """The trusted ones, the oldest first. Raises Unusable."""
        return [_certificates(self._of(each) / "root.pem")[0] for each in self.stage.trusted]

    def chain(self) -> tuple[x509.Certificate, ...]:
        """The intermediate that signs, and those above it but for the root. Raises Unusable."""
        return tuple(_certificates(self._of(self.stage.signing) / "signing.pem"))

    def signer(self) -> Signer:
        """Raises Unusable."""
        chain = self.chain()
        return Signer(chain[0], self._key(self._of(self.stage.signing) / "signing.key"), chain)

    def issue(self, id: SpiffeId, now: datetime, lifetime: timedelta, hosts: Hosts = NONE) -> Issued:
        """Raises Unusable, Unissuable."""
        if id.trust_domain != self.trust_domain:
            raise Unissuable(f"{id} is not of this authority's trust domain, {self.trust_domain}")
        signer, key = self.signer(), authority.new_key()
        made = authority.issue(signer, key.public_key(), id, now, lifetime, hosts)
        # Before anybody has it, so that the old root is not taken away too early.
        self._put(self.stage.issued(lifetime))
        return Issued(id, authority.pem((made, *signer.chain)), _locked(key, None), made.not_valid_after_utc)

    def renew(self, now: datetime) -> None:
        """A new intermediate under the root that signs. Raises Unusable, Unissuable."""
        place = self._of(self.stage.signing)
        self._sign(place, self._root(place), now)

    def rotate(self, step: Step, now: datetime, own: Signer | None = None, spread: timedelta = SPREAD) -> None:
        """`own`: the next root, for `prepare`; else one is made. Raises TooEarly, Unusable, Unissuable."""
        after = self.stage.step(step, now, spread)
        if step == "prepare":
            self._begin(after.newest, own, now)
        self._put(after)

    def _begin(self, generation: int, own: Signer | None, now: datetime) -> None:
        place = self._of(generation)
        with _written(place):
            place.mkdir(mode=0o700, exist_ok=True)
        above = own or authority.root(self.trust_domain, now)
        _write(place / "root.pem", authority.pem([above.certificate]))
        if own is None:
            _write(place / "root.key", _locked(above.key, self._passphrase))
        self._sign(place, above, now)

    def _sign(self, place: File, above: Signer, now: datetime) -> None:
        made = authority.intermediate(above, self.trust_domain, now)
        # The key first: a certificate without its key would be taken for one.
        _write(place / "signing.key", _locked(made.key, self._passphrase))
        _write(place / "signing.pem", authority.pem(made.chain))

    def _root(self, place: File) -> Signer:
        if not (place / "root.key").exists():
            raise Unusable(f"{place / 'root.key'}: not there, and a new intermediate needs it. Put it back for that")
        return Signer(_certificates(place / "root.pem")[0], self._key(place / "root.key"))

    def _put(self, stage: Stage) -> None:
        self.stage = stage
        said = {
            "version": VERSION,
            "trust_domain": self.trust_domain,
            "signing": stage.signing,
            "trusted": list(stage.trusted),
            "since": stage.since.timestamp(),
            "leaf_seconds": stage.leaf.total_seconds(),
        }
        _write(self.folder / "authority.json", json.dumps(said, indent=1).encode() + b"\n")
        _write(self.bundle, authority.pem(self.roots()), mode=0o644)

    def _of(self, generation: int) -> File:
        return self.folder / str(generation)

    def _key(self, file: File) -> CertificateIssuerPrivateKeyTypes:
        return read_key(file, self._passphrase)


def make(
    folder: File, trust_domain: str, now: datetime, passphrase: bytes | None = None, own: Signer | None = None
) -> Authority:
    """`own`: a root that there is already; else one is made. Raises Unusable, Unissuable, NotSpiffe."""
    if (folder / "authority.json").exists():
        raise Unusable(f"{folder}: there is an authority already. `tieline ca show` shows it; choose another folder")
    with _written(folder):
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    made = Authority(folder, checked_trust_domain(trust_domain), Stage(1, (1,), now), passphrase)
    made._begin(1, own, now)
    made._put(made.stage)
    return made


def put(issued: Issued, out: File) -> tuple[File, File]:
    """Writes certificate and key, named after the last part of the id. Raises Unusable."""
    with _written(out):
        out.mkdir(parents=True, exist_ok=True)
    files = out / f"{issued.id.path[-1]}.pem", out / f"{issued.id.path[-1]}.key"
    _write(files[1], issued.key)
    _write(files[0], issued.chain, mode=0o644)
    return files


def load(folder: File, passphrase: bytes | None = None) -> Authority:
    """Raises Unusable."""
    file = folder / "authority.json"
    try:
        said = json.loads(file.read_bytes())
        found = Authority(folder, checked_trust_domain(said["trust_domain"]), _stage(said), passphrase)
    except FileNotFoundError as error:
        raise Unusable(f"{folder}: there is no authority. `tieline ca init` makes one") from error
    except OSError as error:
        raise Unusable(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, NotSpiffe) as error:
        raise Unusable(f"{file}: can't be read: {error!r}. Take it from a backup") from error
    return found


def read_key(file: File, passphrase: bytes | None = None) -> CertificateIssuerPrivateKeyTypes:
    """Raises Unusable."""
    try:
        key = load_pem_private_key(_read(file), passphrase)
    except TypeError as error:
        # It says which of the two.
        need = "locked: give its passphrase" if passphrase is None else "not locked, and a passphrase was given"
        raise Unusable(f"{file}: the key is {need}") from error
    except ValueError as error:
        raise Unusable(f"{file}: no key in PEM, or another passphrase's") from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= FEWEST_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise Unusable(f"{file}: an ECDSA key, or an RSA key of at least {FEWEST_BITS} bits, expected")


def read_root(cert: File, key: File, passphrase: bytes | None = None) -> Signer:
    """A root of somebody's own. Raises Unusable."""
    found, private = _certificates(cert)[0], read_key(key, passphrase)
    if found.issuer != found.subject:
        # OpenSSL and Envoy trust a chain that ends with one that signs itself.
        raise Unusable(f"{cert}: this is no root, it is signed by {found.issuer.rfc4514_string()}. Give that one")
    if found.public_key() != private.public_key():
        raise Unusable(f"{key}: this is not the key of {cert}")
    return Signer(found, private)


def _stage(said: dict[str, Any]) -> Stage:
    if said["version"] != VERSION:
        raise ValueError(f"version {said['version']} of the file")
    trusted = tuple(int(each) for each in said["trusted"])
    stage = Stage(int(said["signing"]), trusted, datetime.fromtimestamp(said["since"], UTC))
    if stage.signing not in trusted or list(trusted) != sorted(set(trusted)):
        raise ValueError("`signing` and `trusted` do not fit")
    return stage.issued(timedelta(seconds=said["leaf_seconds"]))


def _locked(key: CertificateIssuerPrivateKeyTypes, passphrase: bytes | None) -> bytes:
    lock = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def _certificates(file: File) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(file))
    except ValueError as error:
        raise Unusable(f"{file}: no certificates in PEM") from error


def _read(file: File) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Unusable(f"{file}: {(error.strerror or str(error)).lower()}") from error


def _write(file: File, text: bytes, mode: int = 0o600) -> None:
    """All of it or nothing, and on the disk. Raises Unusable."""
    fresh = file.with_name(f".{file.name}.new")
    with _written(file):
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as writing:
            os.fchmod(descriptor, mode)
            writing.write(text)
            writing.flush()
            os.fsync(descriptor)
        fresh.replace(file)


@contextmanager
def _written(file: File) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unusable(f"{file}: can't be written: {(error.strerror or str(error)).lower()}") from error
