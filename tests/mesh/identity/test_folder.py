from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mesh.identity import authority, folder
from mesh.identity.authority import Unissuable
from mesh.identity.folder import Unusable
from mesh.identity.spiffe import SpiffeId
from mesh.identity.stages import TooEarly
from tests.certificates import Authority as Stranger

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
WEB = SpiffeId.host("example.org", "web-1")


def made(place: Path, passphrase: bytes | None = None) -> folder.Authority:
    return folder.make(place / "ca", "example.org", NOW, passphrase)


def files(place: Path) -> dict[str, bytes]:
    return {str(each.relative_to(place)): each.read_bytes() for each in place.rglob("*") if each.is_file()}


def issuer(issued: folder.Issued) -> x509.Name:
    return x509.load_pem_x509_certificates(issued.chain)[-1].issuer


def test_what_was_made_is_there_again(tmp_path: Path) -> None:
    made(tmp_path)
    again = folder.load(tmp_path / "ca")
    issued = again.issue(WEB, NOW, DAY)
    assert (issued.id, issued.not_after) == (WEB, NOW + DAY)
    assert len(x509.load_pem_x509_certificates(issued.chain)) == 2
    assert issuer(issued) == again.roots()[0].subject
    with pytest.raises(Unusable, match="there is an authority already"):
        made(tmp_path)


def test_keys_are_for_the_owner_and_are_locked_if_there_is_a_passphrase(tmp_path: Path) -> None:
    made(tmp_path, b"s3cret")
    keys = list((tmp_path / "ca").rglob("*.key"))
    assert {each.name for each in keys} == {"root.key", "signing.key"}
    for each in keys:
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
        assert b"ENCRYPTED PRIVATE KEY" in each.read_bytes()
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert folder.load(tmp_path / "ca", b"s3cret").issue(WEB, NOW, DAY).key
    for passphrase, why in ((None, "the key is locked: give its passphrase"), (b"other", "another passphrase's")):
        with pytest.raises(Unusable, match=why):
            folder.load(tmp_path / "ca", passphrase).issue(WEB, NOW, DAY)


def test_a_rotation_is_on_disk_step_by_step(tmp_path: Path) -> None:
    of = made(tmp_path)
    old = of.issue(WEB, NOW, DAY)
    of.rotate("prepare", NOW)
    of = folder.load(tmp_path / "ca")
    one, two = of.roots()
    assert x509.load_pem_x509_certificates(of.bundle.read_bytes()) == [one, two]
    assert issuer(of.issue(WEB, NOW, DAY)) == issuer(old) == one.subject
    with pytest.raises(TooEarly):
        of.rotate("activate", NOW + DAY - timedelta(seconds=1))
    of.rotate("activate", NOW + DAY)
    of = folder.load(tmp_path / "ca")
    new = x509.load_pem_x509_certificates(of.issue(WEB, NOW, DAY).chain)
    new[-1].verify_directly_issued_by(two)
    of.rotate("retire", NOW + 2 * DAY)
    assert x509.load_pem_x509_certificates(folder.load(tmp_path / "ca").bundle.read_bytes()) == [two]


def test_a_long_lived_leaf_keeps_the_old_root(tmp_path: Path) -> None:
    of = made(tmp_path)
    of.issue(WEB, NOW, 30 * DAY)
    of.rotate("prepare", NOW)
    of.rotate("activate", NOW + DAY)
    with pytest.raises(TooEarly, match="there may be certificates that the old root has signed"):
        folder.load(tmp_path / "ca").rotate("retire", NOW + 30 * DAY)
    folder.load(tmp_path / "ca").rotate("retire", NOW + 31 * DAY)


def test_a_step_that_was_cut_off_was_not_made_and_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it ends: what counts is authority.json, which is replaced last but for the bundle."""
    of = made(tmp_path)
    before = files(tmp_path / "ca")
    real, left = folder._write, [0]

    def cut(file: Path, text: bytes, mode: int = 0o600) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Unusable("cut off")
        real(file, text, mode)

    for written in range(5):
        left[0] = written
        monkeypatch.setattr(folder, "_write", cut)
        with pytest.raises(Unusable, match="cut off"):
            folder.load(tmp_path / "ca").rotate("prepare", NOW)
        monkeypatch.setattr(folder, "_write", real)
        now = files(tmp_path / "ca")
        assert {key: now[key] for key in before} == before
        assert folder.load(tmp_path / "ca").stage == of.stage
    folder.load(tmp_path / "ca").rotate("prepare", NOW)
    assert len(folder.load(tmp_path / "ca").roots()) == 2


def test_a_new_intermediate_takes_the_roots_key(tmp_path: Path) -> None:
    of = made(tmp_path)
    before = of.chain()
    of.renew(NOW + DAY)
    assert of.chain() != before
    of.chain()[0].verify_directly_issued_by(of.roots()[0])
    (tmp_path / "ca" / "1" / "root.key").unlink()
    assert of.issue(WEB, NOW, DAY)
    with pytest.raises(Unusable, match="not there, and a new intermediate needs it"):
        of.renew(NOW + DAY)


@pytest.mark.parametrize("rsa_key", [False, True])
def test_a_root_of_ones_own_signs_and_its_key_is_not_kept(tmp_path: Path, rsa_key: bool) -> None:
    stranger = Stranger("our root")
    cert, key = stranger.signed.write(tmp_path, "own")
    if rsa_key:
        private = rsa.generate_private_key(65537, 2048)
        name = stranger.signed.certificate.subject
        own = stranger._sign(name, private, None, [], DAY, authority=True)
        cert, key = own.write(tmp_path, "own")
    of = folder.make(tmp_path / "ca", "example.org", NOW, own=folder.read_root(cert, key))
    assert not (tmp_path / "ca" / "1" / "root.key").exists()
    issued = of.issue(WEB, NOW, timedelta(hours=1))
    x509.load_pem_x509_certificates(issued.chain)[-1].verify_directly_issued_by(of.roots()[0])


def test_what_is_no_root_is_refused(tmp_path: Path) -> None:
    stranger = Stranger()
    leaf = stranger.server("web").write(tmp_path, "leaf")
    with pytest.raises(Unusable, match="this is no root, it is signed by CN=test authority"):
        folder.read_root(*leaf)
    cert, _ = stranger.signed.write(tmp_path, "own")
    with pytest.raises(Unusable, match="this is not the key of "):
        folder.read_root(cert, leaf[1])
    odd = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "odd.key").write_bytes(odd)
    with pytest.raises(Unusable, match="an ECDSA key, or an RSA key of at least 2048 bits, expected"):
        folder.read_root(cert, tmp_path / "odd.key")
    with pytest.raises(Unusable, match="no such file"):
        folder.read_root(tmp_path / "none.pem", leaf[1])


def test_another_trust_domain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unissuable, match="is not of this authority's trust domain"):
        made(tmp_path).issue(SpiffeId.host("other.org", "web-1"), NOW, DAY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"version": 2}),
        json.dumps({"version": 1, "trust_domain": "X", "signing": 1, "trusted": [1], "since": 1, "leaf_seconds": 0}),
        json.dumps({"version": 1, "trust_domain": "x", "signing": 3, "trusted": [1], "since": 1, "leaf_seconds": 0}),
        json.dumps({"version": 1, "trust_domain": "x", "signing": 1, "trusted": [2, 1], "since": 1, "leaf_seconds": 0}),
    ],
)
def test_a_folder_that_can_not_be_read_is_told(tmp_path: Path, text: str) -> None:
    of = made(tmp_path)
    (of.folder / "authority.json").write_text(text)
    with pytest.raises(Unusable, match=r"authority.json: can't be read: .* Take it from a backup"):
        folder.load(of.folder)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="`tieline ca init` makes one"):
        folder.load(tmp_path)


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("a file")
    with pytest.raises(Unusable, match="can't be written: file exists"):
        made(tmp_path)


def test_a_key_in_an_error_is_a_defect(tmp_path: Path) -> None:
    of = made(tmp_path)
    assert "PRIVATE" not in repr(of.issue(WEB, NOW, DAY)) + repr(of.signer())
    assert authority.identity(of.chain()[0]) == SpiffeId("example.org")
