"""Files of certificates: each fault is named, and nothing passes that Envoy refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mesh.config import certificates
from mesh.config.certificates import BadCertificate
from mesh.config.load import examine, load
from tests.certificates import Authority, Signed

AUTHORITY = Authority()


def swapped_chain(signed: Signed, folder: Path) -> None:
    (folder / "edge.pem").write_bytes(AUTHORITY.signed.pem + signed.pem)


def of_kind(private: object) -> Callable[[Signed, Path], None]:
    return lambda _, folder: (folder / "edge.key").write_bytes(Signed(AUTHORITY.signed.certificate, private).key)  # type: ignore[arg-type, return-value]


WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
FAULTS = [
    pytest.param(
        lambda _, folder: (folder / "edge.pem").unlink(), "edge.pem: the file can't be read: no such", id="none"
    ),
    pytest.param(lambda _, folder: (folder / "edge.pem").write_bytes(b""), "no certificate in this file", id="empty"),
    pytest.param(
        lambda signed, folder: (folder / "edge.pem").write_bytes(signed.pem.replace(b"\nMI", b"\nMJ")),
        "a certificate in it is damaged",
        id="damaged",
    ),
    pytest.param(
        lambda signed, folder: (folder / "edge.pem").write_bytes(signed.pem[:200]),
        "a certificate in it is damaged",
        id="cut",
    ),
    pytest.param(lambda _, folder: (folder / "edge.key").write_bytes(b"x"), "no private key in this file", id="no key"),
    pytest.param(
        lambda signed, folder: (folder / "edge.key").write_bytes(signed.key[:100] + b"\n-----END PRIVATE KEY-----\n"),
        "the key is damaged or of an unknown kind",
        id="damaged key",
    ),
    pytest.param(
        lambda signed, folder: (folder / "edge.key").write_bytes(signed.locked(b"open sesame")),
        "the key has a passphrase",
        id="passphrase",
    ),
    pytest.param(
        lambda _, folder: (folder / "edge.key").write_bytes(AUTHORITY.server("x").key),
        "edge.key: this is not the key of",
        id="mismatch",
    ),
    pytest.param(swapped_chain, "the certificate of this key is number 2 of", id="order"),
    pytest.param(of_kind(ed25519.Ed25519PrivateKey.generate()), "Envoy does not take keys of this kind", id="ed25519"),
    pytest.param(of_kind(WEAK), "Envoy does not take keys of this kind", id="rsa1024"),
    pytest.param(
        of_kind(ec.generate_private_key(ec.SECP256K1())), "Envoy does not take keys of this kind", id="koblitz"
    ),
]


@pytest.mark.parametrize(("spoil", "says"), FAULTS)
def test_a_bad_file_is_named_without_the_key(tmp_path: Path, spoil: Callable[[Signed, Path], None], says: str) -> None:
    signed = AUTHORITY.server("localhost")
    cert, key = signed.write(tmp_path)
    assert certificates.pair(cert, key).private == signed.key
    spoil(signed, tmp_path)
    with pytest.raises(BadCertificate) as caught:
        certificates.pair(cert, key)
    assert says in str(caught.value)
    assert signed.key.splitlines()[1].decode() not in str(caught.value)


def test_a_key_may_stand_behind_its_certificate_in_one_file(tmp_path: Path) -> None:
    signed = AUTHORITY.server("localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(signed.pem + signed.key)
    assert certificates.pair(both, both).certificates == both.read_bytes()


def test_a_key_is_no_part_of_a_repr(tmp_path: Path) -> None:
    signed = AUTHORITY.server("localhost")
    assert signed.key.splitlines()[1].decode() not in repr(certificates.pair(*signed.write(tmp_path)))


@pytest.mark.parametrize(("days", "says"), [(-2, "this certificate expired on 20"), (1, "")])
def test_an_expired_certificate_is_a_warning(tmp_path: Path, days: int, says: str) -> None:
    AUTHORITY.server("localhost", valid=timedelta(days=days)).write(tmp_path)
    file = tmp_path / "tieline.yaml"
    file.write_text("dtab: /svc => /$/inet\nrouters:\n- tls: {cert: edge.pem, key: edge.key}\n")
    examined = examine(file)
    assert examined.errors == ()
    said = [str(each) for each in examined.warnings if "certificate" in str(each)]
    assert len(said) == bool(says)
    assert all(says in each and f"{file}:3:15: routers[0].tls.cert: {tmp_path}/edge.pem" in each for each in said)


def test_an_agent_that_runs_does_not_end_because_of_a_bad_file(tmp_path: Path) -> None:
    file = tmp_path / "tieline.yaml"
    file.write_text("routers:\n- tls: {cert: none.pem, key: none.key}\n")
    assert examine(file).config is None
    assert load(file).routers[0].tls is not None


def test_a_service_that_need_not_prove_itself_is_a_warning(tmp_path: Path) -> None:
    file, policies = tmp_path / "tieline.yaml", "- match: /svc\n  tls: {verify: false}\n"
    file.write_text(f"dtab: /svc => /$/inet\npolicies:\n{policies}")
    says = "whoever answers is believed to be the service, with any certificate. Remove it, and give `ca` and `san`"
    assert [str(each) for each in examine(file).warnings] == [f"{file}:4:17: policies[0].tls.verify: {says}"]
    file.write_text("dtab: /svc => /$/inet\npolicies_file: policies.list\n")
    (tmp_path / "policies.list").write_text(policies)
    assert [str(each) for each in examine(file).warnings] == [f"{tmp_path}/policies.list:2:17: [0].tls.verify: {says}"]
